"""Pictures as SVG: time against size, speed-up by size and by trial, layers by size.

Drawn without a display and without a date, so that equal records give equal bytes. Every point
has its interval; every axis its unit. Colours are those of Okabe and Ito (jfly.uni-koeln.de/color)
for lines, and Paul Tol's "muted" scheme (personal.sron.nl/~pault) with hatches for layers; both can
be told apart with any kind of colour blindness. What the figures mean is not known here.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from perfkit.records import FFI_LAYERS, Layer, Pattern, TrialOutcome
from perfkit.report.page import by_workload
from perfkit.report.words import time_interval
from perfkit.units import format_count, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from matplotlib.axes import Axes

    from perfkit.records import (
        Diagnosis,
        Interval,
        MeasureReport,
        SizeResult,
        SizeSplit,
        TuneReport,
    )

_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "perfkit",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.prop_cycle": cycler(
        color=("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
    ),
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "errorbar.capsize": 3,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.7,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 5,
    "figure.constrained_layout.use": True,
}
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

    Both axes of the upper panels are logarithmic; one column of panels per workload. Calls that
    follow each other alone: the idle pattern is another question.
    """
    groups = by_workload(one for one in report.results if one.pattern is Pattern.HOT)
    if not groups:
        return _empty("No figure was measured")

    def draw(figure: Figure) -> None:
        panels = figure.subplots(2, len(groups), squeeze=False, sharex="col")
        for (upper, lower), (name, found) in zip(panels.T, groups.items(), strict=True):
            results = sorted(found, key=lambda one: one.size)
            _draw_times(upper, name, results)
            _draw_speedups(lower, results)

    return _picture(draw, width=max(6.4, 5.2 * len(groups)), height=6.8)


def iterations(report: TuneReport) -> bytes:
    """Speed-up by trial: against the reference with the targets, and against the starting build."""
    found = [(trial, one) for trial in report.trials for one in trial.sizes]
    if not found:
        return _empty("No trial was measured")
    sizes = sorted({one.size for _, one in found})
    with_reference = any(one.speedup for _, one in found)

    def draw(figure: Figure) -> None:
        rows = figure.subplots(2 if with_reference else 1, 1, squeeze=False, sharex=True)
        panels = [row[0] for row in rows]
        for number, size in enumerate(sizes):
            # Sizes stand a little beside each other, so that no interval hides another.
            own = [(t.iteration + 0.06 * number, one) for t, one in found if one.size == size]
            label = f"n = {format_count(size)}"
            _line(panels[-1], [(place, one.change) for place, one in own], number, label)
            if with_reference:
                _line(panels[0], [(place, one.speedup) for place, one in own], number, label)
                for target in {one.target for _, one in own if one.speedup} - {None}:
                    panels[0].axhline(target, color=f"C{number}", linewidth=1.0, linestyle=":")
        _finish_trials(panels, report, with_reference=with_reference)
        handles, labels = panels[-1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(len(sizes), 6))

    height = 6.8 if with_reference else 4.0
    return _picture(draw, width=max(6.4, 0.55 * len(report.trials) + 3), height=height)


def layers(diagnosis: Diagnosis) -> bytes:
    """Shares of a call's wall clock by layer, one bar per workload and size."""
    splits = diagnosis.sizes
    if not splits:
        return _empty("No split was made")

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        upward = splits[::-1]
        for place, split in enumerate(upward):
            _draw_split(axes, place, split)
        axes.set_yticks(range(len(upward)), list(map(_split_label, upward)))
        axes.set_ylim(-0.6, len(upward) - 0.4)
        totals = [sum(time.share.estimate for time in split.layers) for split in splits]
        axes.set_xlim(0, max(1.0, *totals))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))
        axes.set_xlabel(
            "share of the wall clock of one call, on the calling thread; below it, its bounds"
        )
        axes.grid(visible=False, axis="y")
        axes.set_title(f"Where the time of a call goes (verdict: {diagnosis.verdict})")
        handles, labels = axes.get_legend_handles_labels()
        known = dict(zip(labels, handles, strict=True))
        shown = [label for label in map(_label, Layer) if label in known]
        figure.legend(
            [known[label] for label in shown],
            shown,
            loc="outside lower center",
            ncols=5,
            handlelength=1.6,
            handleheight=1.1,
        )

    return _picture(draw, width=8.6, height=1.9 + 0.62 * len(splits))


def _picture(draw: Callable[[Figure], object], *, width: float, height: float) -> bytes:
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
    return _picture(
        lambda figure: figure.text(0.5, 0.5, text, ha="center", va="center", color="#555555"),
        width=4.0,
        height=1.2,
    )


def _line(
    axes: Axes,
    points: Iterable[tuple[float, Interval | None]],
    number: int,
    label: str,
    style: str = "-",
) -> None:
    """One series with its intervals; a point without a figure is left out."""
    known = [(place, found) for place, found in points if found is not None]
    if known:
        axes.errorbar(
            [place for place, _ in known],
            [found.estimate for _, found in known],
            yerr=[
                [found.estimate - found.low for _, found in known],
                [found.high - found.estimate for _, found in known],
            ],
            label=label,
            color=f"C{number}",
            marker=_MARKERS[number % len(_MARKERS)],
            linestyle=style,
        )


def _draw_times(axes: Axes, name: str, results: Sequence[SizeResult]) -> None:
    sizes = [result.size for result in results]
    axes.set_xlim(min(sizes) / 1.4, max(sizes) * 1.4)  # also where one size has no range
    _line(axes, [(result.size, result.time_s) for result in results], 0, "subject")
    _line(axes, [(result.size, result.reference_s) for result in results], 1, "reference", "--")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_seconds(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("time per call")
    axes.set_title(f"{name} (bars: 95 % interval)")
    axes.legend()


def _draw_speedups(axes: Axes, results: Sequence[SizeResult]) -> None:
    """Speed-ups with their targets, above an axis of sizes."""
    sizes = [result.size for result in results]
    _line(axes, [(r.size, r.speedup) for r in results], 0, "speed-up against the reference")
    targets = [(r.size, r.target) for r in results if r.target is not None]
    if targets:
        axes.plot(
            *zip(*targets, strict=True),
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
    if any(result.speedup is not None for result in results):
        axes.legend()
    else:
        axes.text(0.5, 0.5, "no reference", transform=axes.transAxes, ha="center", color="#555555")
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(sizes, [format_count(size) for size in sizes])
    axes.set_xlabel("size n")


def _ratio_axis(axes: Axes) -> None:
    """Ratios from zero, so that a difference looks as large as it is."""
    axes.set_ylim(bottom=0)
    axes.margins(y=0.12)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))


def _finish_trials(panels: Sequence[Axes], report: TuneReport, *, with_reference: bool) -> None:
    """Titles, axes, and a mark at each trial that failed."""
    top, bottom = panels[0], panels[-1]
    dotted = "; dotted: targets by size" if with_reference else ""
    top.set_title(f"Speed-up by trial (bars: 95 % interval{dotted})")
    top.set_ylabel("against the reference")
    bottom.axhline(1.0, color="#777777", linewidth=1.0)
    bottom.set_ylabel("against the starting build")
    bottom.set_xlabel("trial (0 is the starting build against a copy of itself)")
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    failed = [trial for trial in report.trials if trial.outcome is not TrialOutcome.OK]
    for axes in panels:
        _ratio_axis(axes)
        for trial in failed:
            axes.axvline(trial.iteration, color="#bbbbbb", linewidth=6, alpha=0.4, zorder=0)
    for trial in failed:
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
                f"{100 * share.estimate:.0f} %\n{100 * share.low:.0f}–{100 * share.high:.0f}",
                ha="center",
                va="center",
                fontsize=8,
                linespacing=1.05,
                color="#ffffff" if layer in _DARK_LAYERS else "#000000",
                bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.2} if hatch else None,
            )
        left += share.estimate
