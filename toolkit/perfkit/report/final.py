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
            "starting build's time over the trial's; these are estimates, and their intervals are "
            "in `iteration_summary.jsonl`. Seconds for the rest.\n",
            f"\n```text\n{table}\n```\n",
        ]
    return "".join(parts)


def iterations_frame(report: TuneReport) -> pd.DataFrame:
    """One row per trial: what it was, what it changed, its ratios by size, and what it took."""
    import pandas as pd

    sizes = sorted({size.size for trial in report.trials for size in trial.sizes})
    figures = {
        f"{figure}_{size}": f"{figure} {format_count(size)}"
        for figure in ("speedup", "change")
        for size in sizes
    }
    names = report.start_params or {}
    columns = ["iteration", "stage", "outcome", *names, *figures, "build_s", "bench_s"]
    rows = pd.DataFrame([{**summary(trial), **trial.params} for trial in report.trials])
    return rows.reindex(columns=columns).rename(columns=figures)
