"""`final_report.md` of a tuning run: the report, the pictures, and the table of all iterations.

The table is made by pandas from declared columns, the same that `iteration_summary.jsonl` has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.report import markdown
from perfkit.report.tuning import tune_page
from perfkit.tune.log import summary
from perfkit.units import format_count

if TYPE_CHECKING:
    import pandas as pd

    from perfkit.records import TuneReport

PICTURE_FILE = "flame/speedup_by_trial.svg"


def final_report(report: TuneReport) -> str:
    """The report as Markdown, with every iteration in one table."""
    parts = [markdown.render(tune_page(report))]
    if report.trials:
        table = iterations_frame(report).to_string(
            index=False, na_rep="-", float_format=lambda value: f"{value:.3f}"
        )
        parts += [
            f"\n![Speed-up by trial]({PICTURE_FILE})\n",
            "\n## All iterations\n\n`speedup` is reference time over subject time, `change` the "
            "starting build's time over the trial's; estimates, their intervals are in "
            "`iteration_summary.jsonl`. Seconds for the rest.\n",
            f"\n```text\n{table}\n```\n",
        ]
    return "".join(parts)


def iterations_frame(report: TuneReport) -> pd.DataFrame:
    """One row per trial: what it was, what it changed, its ratios by size, and what it took."""
    import pandas as pd

    sizes = sorted({size.size for trial in report.trials for size in trial.sizes})
    names = list(report.start_params or {})
    rows = []
    for trial in report.trials:
        line = summary(trial)
        row = {"iteration": trial.iteration, "stage": trial.stage, "outcome": line["outcome"]}
        row |= {name: trial.params.get(name) for name in names}
        for figure in ("speedup", "change"):
            row |= {
                f"{figure} {format_count(size)}": line.get(f"{figure}_{size}") for size in sizes
            }
        rows.append({**row, "build_s": trial.build_s, "bench_s": trial.bench_s})
    columns = ["iteration", "stage", "outcome", *names]
    columns += [f"{figure} {format_count(s)}" for figure in ("speedup", "change") for s in sizes]
    return pd.DataFrame(rows, columns=[*columns, "build_s", "bench_s"])
