"""Pictures as SVG: time against size, speed-up by size and by trial, layers by size.

Drawn without a display and without a date, so that equal records give equal bytes. Every point
has its interval; every axis its unit. Colours are those of Okabe and Ito (jfly.uni-koeln.de/color)
for lines, and Paul Tol's "muted" scheme (personal.sron.nl/~pault) with hatches for layers; both can
be told apart with any kind of colour blindness. What the figures mean is not known here.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from perfkit.records import FFI_LAYERS, Layer, Pattern, TrialOutcome
from perfkit.report.words import seconds, time_interval
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

    from perfkit.records import (
        Diagnosis,
        Interval,
        MeasureReport,
        SizeResult,
        SizeSplit,
        Trial,
        TuneReport,
    )

_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "perfkit",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.7,
    "figure.constrained_layout.use": True,
}

_LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_LAYER_LOOKS: dict[Layer, tuple[str, str]] = {
    Layer.INTERPRETER: ("#332288", ""),
    Layer.GLUE: ("#882255", ""),
    Layer.CONVERT_IN: ("#CC6677", ""),
    Layer.CONVERT_OUT: ("#CC6677", "////"),
    Layer.GIL: ("#AA4499", ""),
    Layer.ALLOCATION: ("#DDCC77", ""),
    Layer.PAGE_FAULT: ("#DDCC77", "////"),
    Layer.POOL: ("#117733", ""),
    Layer.WAITING: ("#EEEEEE", "\\\\\\"),
    Layer.MATH: ("#88CCEE", "////"),
    Layer.COMPUTE: ("#88CCEE", ""),
    Layer.OTHER: ("#999999", ""),
}
_DARK_LAYERS = (Layer.INTERPRETER, Layer.GLUE, Layer.GIL, Layer.POOL)
_SMALLEST_LABELLED_SHARE = 0.06


def times(report: MeasureReport) -> bytes:
    """Time per call against size, subject and reference, and the speed-up with its targets.

    Both axes of the upper panels are logarithmic; one column of panels per workload.
    """
    groups = _by_workload(report.results)
    if not groups:
        return _empty("No figure was measured")

    def draw(figure: Figure) -> None:
        panels = figure.subplots(2, len(groups), squeeze=False, sharex="col")
        for column, (name, results) in enumerate(groups):
            _draw_times(panels[0][column], name, results)
            _draw_speedups(panels[1][column], results)
            _size_axis(panels[1][column], [result.size for result in results])

    return _picture(draw, width=max(6.4, 5.2 * len(groups)), height=6.8)


def iterations(report: TuneReport) -> bytes:
    """Speed-up by trial: against the reference with the targets, and against the starting build."""
    measured = [trial for trial in report.trials if trial.sizes]
    if not measured:
        return _empty("No trial was measured")
    sizes = sorted({size.size for trial in measured for size in trial.sizes})
    with_reference = any(size.speedup for trial in measured for size in trial.sizes)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(2 if with_reference else 1, 1, squeeze=False, sharex=True)
        for number, size in enumerate(sizes):
            if with_reference:
                _draw_trials(panels[0][0], measured, size, number, "speedup")
            _draw_trials(panels[-1][0], measured, size, number, "change")
        _finish_trials([row[0] for row in panels], report, with_reference=with_reference)
        figure.legend(
            *panels[-1][0].get_legend_handles_labels(),
            loc="outside upper center",
            ncols=min(len(sizes), 6),
            frameon=False,
        )

    height = 6.8 if with_reference else 4.0
    return _picture(draw, width=max(6.4, 0.55 * len(report.trials) + 3), height=height)


def layers(diagnosis: Diagnosis) -> bytes:
    """Shares of a call's wall clock by layer, one bar per workload and size."""
    splits = diagnosis.sizes
    if not splits:
        return _empty("No split was made")

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for row, split in enumerate(splits):
            _draw_split(axes, len(splits) - 1 - row, split)
        axes.set_yticks(range(len(splits) - 1, -1, -1), [_split_label(split) for split in splits])
        axes.set_ylim(-0.6, len(splits) - 0.4)
        axes.set_xlim(0, max(1.0, *(_total_share(split) for split in splits)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))
        axes.set_xlabel(
            "share of the wall clock of one call, on the calling thread; ±: 95 % interval"
        )
        axes.grid(visible=False, axis="y")
        axes.set_title(
            f"Where the time of a call goes (verdict: {diagnosis.verdict})", loc="left", fontsize=11
        )
        handles, labels = axes.get_legend_handles_labels()
        known = dict(zip(labels, handles, strict=True))
        shown = [layer for layer in Layer if _label(layer) in known]
        figure.legend(
            [known[_label(layer)] for layer in shown],
            [_label(layer) for layer in shown],
            loc="outside lower center",
            ncols=5,
            frameon=False,
            handlelength=1.6,
            handleheight=1.1,
        )

    return _picture(draw, width=8.6, height=1.9 + 0.62 * len(splits))


def _picture(draw: Callable[[Figure], None], *, width: float, height: float) -> bytes:
    """Draw in perfkit's own settings, whatever the user's matplotlibrc says."""
    stream = io.BytesIO()
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        figure = Figure(figsize=(width, height))
        draw(figure)
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": "perfkit"})
    return stream.getvalue()


def _empty(text: str) -> bytes:
    def draw(figure: Figure) -> None:
        figure.text(0.5, 0.5, text, ha="center", va="center", color="#555555")

    return _picture(draw, width=4.0, height=1.2)


def _by_workload(results: Sequence[SizeResult]) -> list[tuple[str, list[SizeResult]]]:
    """Hot results by workload, by size: the idle pattern is another question."""
    hot = [result for result in results if result.pattern is Pattern.HOT]
    names = dict.fromkeys(result.workload for result in hot)
    return [
        (name, sorted((r for r in hot if r.workload == name), key=lambda result: result.size))
        for name in names
    ]


def _errors(
    points: Sequence[tuple[float, Interval]],
) -> tuple[list[float], list[float], list[list[float]]]:
    """Positions, estimates, and the distances to both bounds as matplotlib wants them."""
    return (
        [position for position, _ in points],
        [interval.estimate for _, interval in points],
        [
            [interval.estimate - interval.low for _, interval in points],
            [interval.high - interval.estimate for _, interval in points],
        ],
    )


def _line(
    axes: Axes,
    points: Sequence[tuple[float, Interval]],
    number: int,
    label: str,
    *,
    dashed: bool = False,
) -> None:
    if not points:
        return
    positions, estimates, errors = _errors(points)
    axes.errorbar(
        positions,
        estimates,
        yerr=errors,
        label=label,
        color=_LINES[number % len(_LINES)],
        marker=_MARKERS[number % len(_MARKERS)],
        linestyle="--" if dashed else "-",
        markersize=5,
        linewidth=1.4,
        capsize=3,
    )


def _draw_times(axes: Axes, name: str, results: Sequence[SizeResult]) -> None:
    sizes = [result.size for result in results]
    axes.set_xlim(min(sizes) / 1.4, max(sizes) * 1.4)  # also where one size has no range
    _line(axes, [(result.size, result.time_s) for result in results], 0, "subject")
    references = [(r.size, r.reference_s) for r in results if r.reference_s is not None]
    _line(axes, references, 1, "reference", dashed=True)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short_seconds(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("time per call")
    axes.set_title(f"{name} (bars: 95 % interval)", loc="left", fontsize=11)
    axes.legend(frameon=False)


def _draw_speedups(axes: Axes, results: Sequence[SizeResult]) -> None:
    points = [(r.size, r.speedup) for r in results if r.speedup is not None]
    if not points:
        axes.text(0.5, 0.5, "no reference", transform=axes.transAxes, ha="center", color="#555555")
    _line(axes, points, 0, "speed-up against the reference")
    targets = [(r.size, r.target) for r in results if r.target is not None]
    if targets:
        axes.plot(
            [size for size, _ in targets],
            [target for _, target in targets],
            linestyle="none",
            marker="_",
            markersize=18,
            markeredgewidth=2.2,
            color="#000000",
            zorder=4,
            label="target",
        )
    axes.axhline(1.0, color="#777777", linewidth=1.0)
    _ratio_axis(axes)
    axes.set_ylabel("speed-up (reference / subject)")
    if points:
        axes.legend(frameon=False)


def _ratio_axis(axes: Axes) -> None:
    """Ratios from zero, so that a difference looks as large as it is."""
    axes.set_ylim(bottom=0)
    axes.margins(y=0.12)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))


def _size_axis(axes: Axes, sizes: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(list(sizes), [format_count(size) for size in sizes])
    axes.set_xlabel("size n")


def _short_seconds(value: float) -> str:
    text = seconds(value)
    number, _, unit = text.partition(" ")
    return f"{float(number):g} {unit}"


def _draw_trials(
    axes: Axes,
    trials: Sequence[Trial],
    size: int,
    number: int,
    figure: Literal["speedup", "change"],
) -> None:
    """One size's line; trials stand a little beside each other so that no interval hides one."""
    points: list[tuple[float, Interval]] = []
    target = None
    for trial in trials:
        for entry in trial.sizes:
            interval = entry.speedup if figure == "speedup" else entry.change
            if entry.size == size and interval is not None:
                points.append((trial.iteration + 0.06 * number, interval))
                target = entry.target
    _line(axes, points, number, f"n = {format_count(size)}")
    if figure == "speedup" and target is not None:
        axes.axhline(target, color=_LINES[number % len(_LINES)], linewidth=1.0, linestyle=":")


def _finish_trials(panels: Sequence[Axes], report: TuneReport, *, with_reference: bool) -> None:
    bottom = panels[-1]
    if with_reference:
        panels[0].set_ylabel("against the reference")
        panels[0].set_title(
            "Speed-up by trial (bars: 95 % interval; dotted: targets by size)",
            loc="left",
            fontsize=11,
        )
    else:
        bottom.set_title("Speed-up by trial (bars: 95 % interval)", loc="left", fontsize=11)
    bottom.axhline(1.0, color="#777777", linewidth=1.0)
    bottom.set_ylabel("against the starting build")
    bottom.set_xlabel("trial (0 is the starting build against a copy of itself)")
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in panels:
        _ratio_axis(axes)
        for trial in report.trials:
            if trial.outcome is not TrialOutcome.OK:
                axes.axvline(trial.iteration, color="#bbbbbb", linewidth=6, alpha=0.4, zorder=0)
    for trial in report.trials:
        if trial.outcome is not TrialOutcome.OK:
            bottom.annotate(
                trial.outcome.replace("_", " "),
                (trial.iteration, 0.03),
                xycoords=("data", "axes fraction"),
                rotation=90,
                ha="center",
                va="bottom",
                fontsize=8,
                color="#444444",
            )


def _label(layer: Layer) -> str:
    return f"{layer} (FFI)" if layer in FFI_LAYERS else layer.value


def _total_share(split: SizeSplit) -> float:
    return sum(time.share.estimate for time in split.layers)


def _split_label(split: SizeSplit) -> str:
    call = time_interval(split.call_s).partition("\n")[0]
    return f"{split.workload}\nn = {format_count(split.size)}, {call}"


def _draw_split(axes: Axes, position: int, split: SizeSplit) -> None:
    left = 0.0
    shares = {time.layer: time.share for time in split.layers}
    for layer in Layer:
        share = shares.get(layer)
        if share is None or share.estimate <= 0:
            continue
        colour, hatch = _LAYER_LOOKS[layer]
        axes.barh(
            position,
            share.estimate,
            left=left,
            height=0.66,
            color=colour,
            hatch=hatch,
            edgecolor="#ffffff" if not hatch else "#666666",
            linewidth=0.6,
            label=_label(layer),
        )
        if share.estimate >= _SMALLEST_LABELLED_SHARE:
            axes.text(
                left + share.estimate / 2,
                position,
                f"{100 * share.estimate:.0f} %\n±{50 * (share.high - share.low):.1f}",
                ha="center",
                va="center",
                fontsize=8,
                linespacing=1.05,
                color="#ffffff" if layer in _DARK_LAYERS else "#000000",
                bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.2} if hatch else None,
            )
        left += share.estimate
