"""`perfkit diagnose`: where the time of a call goes at each size, and what to do about it."""

from __future__ import annotations

from typing import Annotated

import typer

from perfkit.cli import options


def diagnose(
    workload: options.WorkloadOption = None,
    sizes: options.SizesOption = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Also inject known delays and see whether they are found, and force both branches "
            "of every threshold that is a constant.",
        ),
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer blocks, shorter captures and wider intervals.")
    ] = False,
    patience: options.PatienceOption = None,
    seed: options.SeedOption = 1,
    config: options.ConfigOption = None,
    form: options.FormatOption = options.Format.HUMAN,
    output: options.OutputOption = None,
) -> None:
    """Split the time of a call by layer at each size, by more than one method.

    Exits with 0 if the report is true as written, however wide its bounds are, and with 4 if the
    methods disagree, the times cannot be trusted, or nothing could be told. The report then says
    which and why.
    """
    from perfkit.cli.context import check_output, emit, working
    from perfkit.cli.verdicts import diagnose_code
    from perfkit.diagnose.conclude import diagnose as split
    from perfkit.diagnose.conclude import job_of, was_interrupted
    from perfkit.diagnose.times import quick_project
    from perfkit.report import finished

    check_output(output)
    with working("diagnose", config=config, workload=workload) as context:
        project = quick_project(context.project) if quick else context.project
        name, _ = project.workload(workload)
        settings = project.config.measure
        if patience is not None:
            settings = settings.model_copy(update={"patience_s": patience})
        run = context.run
        context.progress("building the subject", None)
        job = job_of(
            project,
            name,
            context.builder,
            run,
            settings=settings,
            seed=seed,
            progress=context.progress,
        )
        diagnosis = split(job, project.sizes(name, sizes), verify=verify)
        emit(finished.keep(run, diagnosis), form=form, output=output)
        if was_interrupted(diagnosis):
            raise KeyboardInterrupt
        raise typer.Exit(int(diagnose_code(diagnosis)))
