"""What each command's report says, as blocks: measure, profile, doctor.

The bottleneck report is in `report/diagnosis.py`, the tuning report in `report/tuning.py`. How a
block looks is the business of `console.py` and `markdown.py`. A figure stands beside its
interval and its base; a verdict that is withheld says why.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, assert_never

from perfkit.records import MeasureVerdict, Pattern
from perfkit.report.page import (
    Block,
    Bullets,
    Heading,
    Page,
    Table,
    Tone,
    Verdict,
    columns,
)
from perfkit.report.words import (
    UNKNOWN,
    joined,
    note_text,
    percent,
    percent_interval,
    ratio_interval,
    time_interval,
)
from perfkit.units import format_count, format_ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.records import (
        Capture,
        Check,
        Interval,
        LoadedModule,
        MeasureReport,
        Note,
        SizeResult,
    )

_SPEEDUP_BASE = (
    "Speed-up is reference time over subject time, the median of the ratios block by block. "
    "Brackets: 95 % interval. A target is met by the lower bound. Blocks: undisturbed of all."
)
_CHANGE_BASE = (
    " Change is the other build's time over this one's: above 1x this build is faster; nothing "
    "inside the noise floor counts as a change."
)


def measure_page(report: MeasureReport) -> Page:
    """The report of `perfkit measure`."""
    blocks: list[Block] = [measure_verdict(report)]
    if report.effective_cores and report.verdict is MeasureVerdict.BUSY:
        blocks += _cores_blocks(report.effective_cores)
    for name in dict.fromkeys(result.workload for result in report.results):
        results = [result for result in report.results if result.workload == name]
        if report.verdict is MeasureVerdict.BUSY:
            blocks += [Heading(text=name), _blocks_table(results)]
            continue
        blocks += [Heading(text=name), measure_table(results, report.noise_floor)]
        remarks = tuple(
            f"{format_count(result.size)}: {result.note}" for result in results if result.note
        )
        if remarks:
            blocks.append(Bullets(items=remarks))
    blocks += notes_blocks(report.notes)
    blocks += _loaded_blocks(report.loaded)
    return Page(title="perfkit measure", blocks=tuple(blocks))


def measure_verdict(report: MeasureReport) -> Verdict:
    """Whether the figures may be believed, and which targets were met."""
    match report.verdict:
        case MeasureVerdict.OK:
            missed = [r for r in report.results if r.met is False]
            sentence = _floor_sentence(report.noise_floor)
            if missed:
                which = joined(f"{r.workload} at {format_count(r.size)}" for r in missed)
                sentence += f" Target missed: {which}."
            return Verdict(word="ok", tone=Tone.CAUTION if missed else Tone.GOOD, sentence=sentence)
        case MeasureVerdict.UNCHECKED:
            sentence = (
                "No sentinel and no comparison of identical code stands behind these figures: a "
                "busy machine would not have been noticed."
            )
            return Verdict(word="unchecked", tone=Tone.CAUTION, sentence=sentence)
        case MeasureVerdict.BUSY:
            valid = sum(result.valid_blocks for result in report.results)
            total = sum(result.blocks for result in report.results)
            sentence = (
                f"No verdict: the machine had no room for the measurement ({valid} of {total} "
                "blocks were undisturbed)."
            )
            return Verdict(word="busy", tone=Tone.BAD, sentence=sentence)
        case MeasureVerdict.UNTRUSTED:
            sentence = "No verdict: identical copies of the build measured as different."
            return Verdict(word="untrusted", tone=Tone.BAD, sentence=sentence)
        case _:
            assert_never(report.verdict)


def measure_table(results: Sequence[SizeResult], noise_floor: float | None) -> Table:
    """Time, reference, speed-up and target by size; columns that nothing fills are left out."""
    with_change = any(result.change is not None for result in results)
    with_contended = any(result.contended_speedup is not None for result in results)
    with_pattern = any(result.pattern is not Pattern.HOT for result in results)
    titles = ["size", "time per call", "reference", "speed-up", "target", "met"]
    titles += ["contended speed-up"] if with_contended else []
    titles += ["change", "<reading"] if with_change else []
    rows = []
    for result in results:
        size = format_count(result.size)
        row = [
            f"{size}\n{result.pattern}" if with_pattern else size,
            time_interval(result.time_s),
            time_interval(result.reference_s),
            ratio_interval(result.speedup),
            format_ratio(result.target) if result.target is not None else UNKNOWN,
            met_text(result.target, result.met),
        ]
        row += [ratio_interval(result.contended_speedup)] if with_contended else []
        if with_change:
            floor = result.noise_floor if result.noise_floor is not None else noise_floor
            row += [ratio_interval(result.change), change_text(result.change, floor)]
        row.append(f"{result.valid_blocks}/{result.blocks}")
        rows.append(tuple(row))
    caption = _SPEEDUP_BASE + (_CHANGE_BASE if with_change else "")
    return Table(columns=columns(*titles, "blocks"), rows=tuple(rows), caption=caption)


def met_text(target: float | None, met: bool | None) -> str:
    """`yes`, `no`, `withheld` where a target has no verdict, `–` where there is no target."""
    if target is None:
        return UNKNOWN
    if met is None:
        return "withheld"
    return "yes" if met else "no"


def change_text(change: Interval | None, noise_floor: float | None) -> str:
    """`faster`, `slower` or `no change seen`: the interval must clear one *and* the noise floor."""
    if change is None:
        return UNKNOWN
    floor = 1.0 + (noise_floor or 0.0)
    if change.low > 1.0 and change.estimate > floor:
        return "faster"
    if change.high < 1.0 and change.estimate < 1.0 / floor:
        return "slower"
    return "no change seen"


def profile_page(captures: Sequence[Capture]) -> Page:
    """The report of `perfkit profile`."""
    rows = tuple(_capture_row(capture) for capture in captures)
    table = Table(
        columns=columns(
            "<profiler", "<workload", "size", "rate", "samples", "unresolved", "slowdown", "<used"
        ),
        rows=rows,
        caption=(
            "Unresolved: share of the samples whose innermost frame has no name. Slowdown: "
            "profiled time over bare time, minus one, with its 95 % interval; – was not measured."
        ),
    )
    blocks: list[Block] = [_profile_verdict(captures), table]
    refused = tuple(
        f"{capture.profiler}, {_place(capture)}: {capture.reason}"
        for capture in captures
        if not capture.accepted
    )
    if refused:
        blocks += [Heading(text="Not used, and why"), Bullets(items=refused)]
    blocks += notes_blocks([note for capture in captures for note in capture.notes])
    files = tuple(
        f"{kind}: {path.as_posix()}"
        for capture in captures
        for kind, path in sorted(capture.files.items())
    )
    if files:
        blocks += [Heading(text="Files, relative to the run directory"), Bullets(items=files)]
    return Page(title="perfkit profile", blocks=tuple(blocks))


def capture_table(captures: Sequence[Capture]) -> Table:
    """What each profiler saw and what it cost, without the files: for other reports."""
    return Table(
        columns=columns("<profiler", "size", "samples", "unresolved", "slowdown", "<used"),
        rows=tuple(
            (row[0], *row[2:3], *row[4:]) for row in (_capture_row(capture) for capture in captures)
        ),
        caption="Unresolved: share of samples without a name. Slowdown: profiled over bare time, "
        "minus one.",
    )


def doctor_page(checks: Sequence[Check]) -> Page:
    """The report of `perfkit doctor`."""
    missing = [check for check in checks if not check.ok and check.required]
    limited = [check for check in checks if not check.ok and not check.required]
    if missing:
        which = joined(check.id for check in missing)
        verdict = Verdict(
            word="not ready", tone=Tone.BAD, sentence=f"Required and not there: {which}."
        )
    elif limited:
        which = joined(check.id for check in limited)
        verdict = Verdict(
            word="ready", tone=Tone.CAUTION, sentence=f"Everything required is there; not: {which}."
        )
    else:
        verdict = Verdict(word="ready", tone=Tone.GOOD, sentence="Everything was found.")
    rows = tuple(
        (
            "ok" if check.ok else ("MISSING" if check.required else "limited"),
            check.id,
            check.found,
        )
        for check in checks
    )
    blocks: list[Block] = [verdict, Table(columns=columns("<", "<check", "<found"), rows=rows)]
    remedies = tuple(
        f"{check.id}: {check.remedy}" for check in (*missing, *limited) if check.remedy
    )
    if remedies:
        blocks += [Heading(text="To do"), Bullets(items=remedies)]
    return Page(title="perfkit doctor", blocks=tuple(blocks))


def notes_blocks(notes: Sequence[Note]) -> list[Block]:
    """Warnings and remarks, each one once."""
    items = tuple(dict.fromkeys(note_text(note) for note in notes))
    return [Heading(text="Notes"), Bullets(items=items)] if items else []


def _blocks_table(results: Sequence[SizeResult]) -> Table:
    """What a busy machine leaves to say: how many blocks were undisturbed, and no figure."""
    rows = tuple(
        (format_count(result.size), str(result.valid_blocks), str(result.blocks))
        for result in results
    )
    return Table(columns=columns("size", "undisturbed blocks", "blocks"), rows=rows)


def _cores_blocks(effective_cores: Sequence[float]) -> list[Block]:
    """A histogram of the cores that the sentinels really got, in steps of a quarter core."""
    counts = Counter(math.floor(4 * cores) for cores in effective_cores)
    widest = max(counts.values())
    rows = tuple(
        (
            f"{step / 4:.2f} to {(step + 1) / 4:.2f}",
            str(count),
            "#" * math.ceil(30 * count / widest),
        )
        for step, count in sorted(counts.items())
    )
    table = Table(columns=columns("cores free", "blocks", "<"), rows=rows)
    return [Heading(text="Room on the machine, by perfkit's own fixed work"), table]


def _floor_sentence(noise_floor: float | None) -> str:
    if noise_floor is None:
        return "The machine had room."
    return (
        f"The machine had room, and identical copies of the build differ by no more than "
        f"{percent(noise_floor)} of the time of a call (the noise floor)."
    )


def _profile_verdict(captures: Sequence[Capture]) -> Verdict:
    used = [capture for capture in captures if capture.accepted]
    if not captures:
        return Verdict(word="nothing", tone=Tone.BAD, sentence="No profiler could be started.")
    if not used:
        sentence = "No capture can be believed; no table is made from them."
        return Verdict(word="withheld", tone=Tone.BAD, sentence=sentence)
    names = joined(dict.fromkeys(capture.profiler for capture in used))
    unknown = any(capture.slowdown is None for capture in used)
    cost = " What it cost was not measured for each of them." if unknown else ""
    return Verdict(
        word="profiled",
        tone=Tone.CAUTION if unknown or len(used) < len(captures) else Tone.GOOD,
        sentence=f"{len(used)} of {len(captures)} captures are used, by {names}.{cost}",
    )


def _capture_row(capture: Capture) -> tuple[str, ...]:
    return (
        capture.profiler,
        capture.workload,
        format_count(capture.size) if capture.size is not None else UNKNOWN,
        f"{capture.rate_hz:g} Hz\n{capture.clock} clock" if capture.rate_hz else UNKNOWN,
        str(capture.samples),
        percent(capture.unresolved_share),
        percent_interval(capture.slowdown),
        "yes" if capture.accepted else "no",
    )


def _place(capture: Capture) -> str:
    if capture.size is None:
        return capture.workload
    return f"{capture.workload} at {format_count(capture.size)}"


def _loaded_blocks(loaded: Sequence[LoadedModule]) -> list[Block]:
    """Which binaries ran: each file once, however many processes loaded it."""
    items = tuple(
        dict.fromkeys(
            f"{module.module} from {module.path.as_posix()} (sha256 {module.sha256[:12]}, "
            f"Python {module.python})"
            for module in loaded
        )
    )
    if not items:
        return []
    return [Heading(text="What ran"), Bullets(items=items)]
