"""`perfkit profile`: flame graphs and folded stacks, with what each profiler cost."""

from __future__ import annotations

from typing import Annotated

import typer

from perfkit.cli.options import (
    ConfigOption,
    DurationOption,
    Format,
    FormatOption,
    OutputOption,
    RateOption,
    SizesOption,
    WorkloadOption,
)


def profile(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND…]", help="A Python command instead of a workload."),
    ] = None,
    workload: WorkloadOption = None,
    sizes: SizesOption = None,
    profiler: Annotated[
        list[str] | None,
        typer.Option(
            "--profiler",
            metavar="NAME",
            help="perf, py-spy, cargo-flamegraph, scalene or callgrind; may be repeated.",
        ),
    ] = None,
    rate: RateOption = None,
    duration: DurationOption = None,
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
    config: ConfigOption = None,
    form: FormatOption = Format.HUMAN,
    output: OutputOption = None,
) -> None:
    """Profile the configured workloads, a Python command, a module or a process.

    Ends with 0 when each workload and size has a capture that may be believed (every capture, where
    --profiler names them), else with 4; 6 when a tool or a permission is missing. The exit code of
    a COMMAND is handed on.
    """
    from perfkit.checks.built import audit_build
    from perfkit.cli.context import check_output, emit, working
    from perfkit.cli.verdicts import profile_code
    from perfkit.errors import UsageError
    from perfkit.profile.command import ProfileOptions, Target, profile_command
    from perfkit.report import machine, markdown, pages, replay

    check_output(output, (".json", ".md", ".txt", ".svg"))
    given = [name for name, value in (("--pid", pid), ("COMMAND", command or module)) if value]
    if len(given) > 1:
        message = "--pid and COMMAND both name what to profile"
        raise UsageError(message, remedy="give one of them")
    options = ProfileOptions(
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
            options,
            target=target,
            builder=context.builder,
            run=context.run,
            progress=context.progress,
        )
        captures = outcome.captures
        audit = audit_build(outcome.build, context.project) if outcome.build is not None else ()
        record = {"captures": captures, "build": audit}
        context.run.write_record(replay.PROFILE_FILE, record)
        page = pages.profile(captures, build=audit)
        context.run.write(replay.REPORT_FILE, markdown.render(page))
        emit(
            form=form,
            output=output,
            page=lambda: page,
            document=lambda: machine.profile_json(captures, build=audit),
        )
        if outcome.exit_code is not None:
            raise typer.Exit(outcome.exit_code)
        raise typer.Exit(int(profile_code(captures, named=bool(profiler))))
