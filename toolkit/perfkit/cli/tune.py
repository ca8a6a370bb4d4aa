"""`perfkit tune`: recommend parameter values, then rebuild and measure until it converges."""

from __future__ import annotations

from typing import Annotated

import typer

from perfkit.cli import options


def tune(
    workload: options.WorkloadOption = None,
    max_iterations: Annotated[
        int | None, typer.Option("--max-iterations", min=1, help="Maximum number of trials.")
    ] = None,
    time_limit: options.TimeLimitOption = None,
    strategy: Annotated[
        str, typer.Option("--strategy", help="How candidates are chosen: grid.")
    ] = "grid",
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", help="Resume an interrupted run.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be tried; build nothing.")
    ] = False,
    patience: options.PatienceOption = None,
    seed: options.SeedOption = 1,
    config: options.ConfigOption = None,
    form: options.FormatOption = options.Format.HUMAN,
    output: options.OutputOption = None,
) -> None:
    """Tune the parameters of the config: edit a copy, rebuild, prove, measure, converge.

    The sources are never edited. Exits with 0 on success or if the start is kept, 3 if it stopped
    with targets missed, and 4 if the machine was busy or the figures cannot be trusted.
    """
    from perfkit.cli.context import check_output, emit, open_project, working
    from perfkit.cli.verdicts import tune_code
    from perfkit.report import finished, machine
    from perfkit.report.tuning import plan_page
    from perfkit.tune.log import resumable
    from perfkit.tune.setup import TuneOptions, plan_command, tune_command

    check_output(output)
    options = TuneOptions(workload=workload, strategy=strategy, seed=seed)
    overrides = {
        "tune.max_iterations": max_iterations,
        "tune.time_limit_s": time_limit,
        "measure.patience_s": patience,
    }
    if dry_run:
        plan = plan_command(open_project(config, overrides), options)
        emit(machine.report_of(plan_page(plan), plan), form=form, output=output)
        return
    earlier = None if resume is None else lambda profiles: resumable(profiles, resume)
    with working(
        "tune", config=config, workload=workload, overrides=overrides, resume=earlier
    ) as context:
        report = tune_command(
            context.project,
            options,
            builder=context.builder,
            run=context.run,
            resume=resume is not None,
            progress=context.progress,
        )
        emit(finished.keep(context.run, report), form=form, output=output)
        raise typer.Exit(int(tune_code(report)))
