"""`perfkit measure`: time per call at each size, against the reference or another build."""

from __future__ import annotations

from typing import Annotated

import typer

from perfkit.cli import options


def measure(
    workload: options.WorkloadOption = None,
    sizes: options.SizesOption = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="REVISION|WHEEL|FILE",
            help="Measure another state of the subject in the same blocks: did the edit help?",
        ),
    ] = None,
    save_baseline: Annotated[
        str | None,
        typer.Option("--save-baseline", metavar="NAME", help="Keep this build under a name."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="NAME", help="Measure a kept build in the same blocks."),
    ] = None,
    against_workload: Annotated[
        str | None,
        typer.Option(
            "--against-workload",
            metavar="NAME",
            help="Measure another workload of the same inputs and reference in the same blocks.",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer blocks and wider intervals.")
    ] = False,
    idle: Annotated[
        bool, typer.Option("--idle", help="Also call after the thread pool went to sleep.")
    ] = False,
    time_limit: options.TimeLimitOption = None,
    patience: options.PatienceOption = None,
    seed: options.SeedOption = 1,
    config: options.ConfigOption = None,
    form: options.FormatOption = options.Format.HUMAN,
    output: options.OutputOption = None,
) -> None:
    """Measure the time per call at each size, with intervals, against the reference.

    Exits with 0 if every target is met, 3 if one is missed or the change is a regression, and 4 if
    the machine was too busy or the figures cannot be trusted.
    """
    import dataclasses

    from perfkit.checks.built import audit_build
    from perfkit.cli.context import check_output, emit, working
    from perfkit.cli.verdicts import measure_code
    from perfkit.errors import UsageError
    from perfkit.measure.report import MeasureOptions, measure_command
    from perfkit.report import finished

    check_output(output)
    given = {
        "--against": against,
        "--baseline": baseline,
        "--against-workload": against_workload,
    }
    several = [option for option, value in given.items() if value is not None]
    if len(several) > 1:
        message = f"{' and '.join(several)} each name what to compare with"
        raise UsageError(message, remedy="give only one of them")
    asked = MeasureOptions(
        workload=workload,
        sizes=sizes,
        against=against,
        save_baseline=save_baseline,
        baseline=baseline,
        against_workload=against_workload,
        quick=quick,
        idle=idle,
        time_limit_s=time_limit,
        patience_s=patience,
        seed=seed,
    )
    with working("measure", config=config, workload=workload) as context:
        report = measure_command(
            context.project,
            asked,
            builder=context.builder,
            cache=context.cache,
            run=context.run,
            progress=context.progress,
        )
        audit = audit_build(context.builder.build(), context.project)
        report = dataclasses.replace(report, build=audit)
        emit(finished.keep(context.run, report), form=form, output=output)
        raise typer.Exit(int(measure_code(report)))
