"""`perfkit profile`: flame graphs and folded stacks, with what each profiler cost."""

from __future__ import annotations

from typing import Annotated

import typer

from perfkit.cli import options


def profile(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND…]", help="A Python command instead of a workload."),
    ] = None,
    workload: options.WorkloadOption = None,
    sizes: options.SizesOption = None,
    profiler: Annotated[
        list[str] | None,
        typer.Option(
            "--profiler",
            metavar="NAME",
            help="A profiler, such as perf, py-spy or callgrind; may be repeated.",
        ),
    ] = None,
    rate: options.RateOption = None,
    duration: options.DurationOption = None,
    module: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--module",
            metavar="MODULE",
            help="Profile `python -m MODULE` with COMMAND after it.",
        ),
    ] = None,
    pid: Annotated[
        int | None, typer.Option("-p", "--pid", metavar="PID", help="Profile a running process.")
    ] = None,
    export: Annotated[
        list[str] | None,
        typer.Option(
            "--export", metavar="KIND", help="Also write speedscope or csv; may be repeated."
        ),
    ] = None,
    config: options.ConfigOption = None,
    form: options.FormatOption = options.Format.HUMAN,
    output: options.OutputOption = None,
) -> None:
    """Profile the configured workloads, a Python command, a module or a process.

    Exits with 0 if each workload and size has a capture that can be trusted (with --profiler: if
    every capture can), otherwise with 4, or with 6 if a tool or a permission is missing. The exit
    code of a COMMAND is passed on.
    """
    from perfkit.checks.built import audit_build
    from perfkit.cli.context import check_output, emit, working
    from perfkit.cli.verdicts import profile_code
    from perfkit.errors import UsageError
    from perfkit.profile.profile_command import ProfileOptions, Target, profile_command
    from perfkit.records import ProfileReport
    from perfkit.report import finished

    check_output(output, (".json", ".md", ".txt", ".svg"))
    given = [name for name, value in (("--pid", pid), ("COMMAND", command or module)) if value]
    if len(given) > 1:
        message = "--pid and COMMAND both name what to profile"
        raise UsageError(message, remedy="give only one of them")
    asked = ProfileOptions(
        workload=workload,
        sizes=sizes,
        profilers=tuple(profiler) if profiler else None,
        rate_hz=rate,
        duration_s=duration,
        exports=tuple(export or ()),
    )
    target = Target(command=tuple(command or ()), module=module, pid=pid) if given else None
    with working("profile", config=config, workload=workload) as context:
        outcome = profile_command(
            context.project,
            asked,
            target=target,
            builder=context.builder,
            run=context.run,
            progress=context.progress,
        )
        audit = audit_build(outcome.build, context.project) if outcome.build is not None else ()
        result = ProfileReport(captures=outcome.captures, build=audit)
        emit(finished.keep(context.run, result), form=form, output=output)
        if outcome.exit_code is not None:
            raise typer.Exit(outcome.exit_code)
        raise typer.Exit(int(profile_code(result.captures, named=bool(profiler))))
