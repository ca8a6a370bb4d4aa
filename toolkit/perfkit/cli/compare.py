"""`perfkit compare`: two finished runs, where their machines and inputs allow it."""

from __future__ import annotations

from typing import Annotated

import typer

from perfkit.cli import options


def compare(
    before: Annotated[str, typer.Argument(metavar="RUN", help="The earlier run.")],
    after: Annotated[
        str | None, typer.Argument(metavar="RUN", help="The later run; none with --sizes.")
    ] = None,
    sizes: options.SizesOption = None,
    config: options.ConfigOption = None,
    form: options.FormatOption = options.Format.HUMAN,
    output: options.OutputOption = None,
) -> None:
    """Compare two measured runs, two profiled runs, or two sizes of one profiled run.

    Of measured runs the speed-ups are compared: each was measured interleaved within its own run.
    For "did my edit help?" use `perfkit measure --against`, which measures both in the same blocks.

    Of profiled runs each frame's CPU time per call is compared, with an interval; with two --sizes
    of one run, per element. With `-o FILE.svg` the differential flame graph is written instead,
    one file per pair of captures.

    Refused when the runs' fingerprints, or the work that they did, differ.
    """
    from perfkit import store
    from perfkit.cli.context import check_output, emit, open_project, tell
    from perfkit.errors import UsageError
    from perfkit.measure.compare import compare_runs
    from perfkit.profile import compare_captures as profiles
    from perfkit.report import comparing, machine
    from perfkit.run_files import MEASUREMENT, comparable_file

    check_output(output, (".json", ".md", ".txt", ".svg"))
    if (after is None) == (sizes is None) or (sizes is not None and len(sizes) != 2):
        message = "there is nothing to compare with"
        raise UsageError(message, remedy="name two runs, or one run and two --sizes")
    project = open_project(config)
    first = store.open_run(project.profiles, before)
    second = store.open_run(project.profiles, after) if after is not None else first
    svg = output is not None and output.suffix == ".svg"
    if comparable_file(first, second) is MEASUREMENT and sizes is None and not svg:
        comparison = compare_runs(first, second)
        report = machine.report_of(comparing.compare_page(comparison), comparison)
        emit(report, form=form, output=output)
        return
    pairs, notes = (
        profiles.pair_sizes(first, *sorted(sizes))
        if sizes is not None
        else profiles.pair_runs(first, second)
    )
    if output is not None and svg:
        for pair in pairs:
            name = output if len(pairs) == 1 else output.with_suffix(f".{pair.label}.svg")
            tell(f"Wrote {profiles.draw(pair, name)}")
        return
    found = profiles.compare_pairs(pairs, notes, first.id, second.id)
    report = machine.report_of(comparing.compare_profiles_page(found), found)
    emit(report, form=form, output=output)
