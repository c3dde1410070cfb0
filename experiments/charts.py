"""Charts whose labels stand at what they name: one colour a family, no list to look things up in."""

import dataclasses
import itertools
import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from fsdd.io.atomic import replacing

# Families of the paper's rows, whose colours are the same in all charts.
RIVALS, TRANSLATORS, REFINE, SMALL, REAL = (
    "rivals",
    "1 Net and translators",
    "Refine",
    "down-sampled (DS)",
    "real images",
)
# Dark enough for text on white, and told apart by all common kinds of colour vision.
_COLOURS = ("#0060A8", "#B84A00", "#007A5A", "#9C3D7A", "#555555")
_FONT = 10
_DPI = 200
_PIXELS = _DPI / 72  # of a point
# Where a label may stand: points to the right of and above its point, nearest first.
_RADII = (7, 14, 24, 36, 50, 66)
_DIRECTIONS = tuple((np.cos(angle), np.sin(angle)) for angle in np.arange(0, 2 * np.pi, np.pi / 8))


@dataclasses.dataclass(frozen=True)
class Series:
    """Points that belong together, in order; the label stands at the last.

    Attributes:
        x: one value or more.
        y: as many.
        family: those of one family share a colour.
        label: what stands at the point; "" for nothing.
    """

    x: Sequence[float]
    y: Sequence[float]
    family: str = ""
    label: str = ""


def scatter(
    path: pathlib.Path,
    series: Sequence[Series],
    xlabel: str,
    ylabel: str,
    *,
    log_x: bool = True,
) -> None:
    """Draw labelled points as a PNG of 1200 x 900 pixels; the points of one series are joined.

    Args:
        path: the PNG file to write.
        series: what to draw.
        xlabel: what x is, with its unit.
        ylabel: the same for y.
        log_x: whether the x axis is logarithmic.
    """
    figure, axes = _begin(xlabel, ylabel, log_x)
    colours = _colours(series)
    for one in series:
        # Paths below, so that they hide no point of another series.
        axes.plot(one.x, one.y, "-o", color=colours[one.family], linewidth=1.2, markersize=3, zorder=2)
        axes.plot(one.x[-1:], one.y[-1:], "o", color=colours[one.family], markersize=6, zorder=3)
    axes.margins(x=0.16, y=0.12)
    _name_families(axes, colours)
    _finish_axis(axes, log_x)
    figure.canvas.draw()
    _place_labels(axes, series, colours)
    _save(figure, path)


def lines(
    path: pathlib.Path, series: Sequence[Series], xlabel: str, ylabel: str, *, log_x: bool = False, whole: bool = False
) -> None:
    """Draw lines as a PNG of 1200 x 900 pixels, each with its label to the right of its end.

    Args:
        path: the PNG file to write.
        series: what to draw.
        xlabel: what x is, with its unit.
        ylabel: the same for y.
        log_x: whether the x axis is logarithmic.
        whole: whether x takes whole numbers only.
    """
    figure, axes = _begin(xlabel, ylabel, log_x)
    colours = _colours(series)
    for one in series:
        marker = "o" if len(one.x) <= 20 else None
        axes.plot(one.x, one.y, color=colours[one.family], linewidth=1.8, marker=marker, markersize=4)
    if whole:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish_axis(axes, log_x)
    figure.canvas.draw()
    _place_at_ends(axes, [one for one in series if one.label], colours)
    _save(figure, path)


def _begin(xlabel: str, ylabel: str, log_x: bool) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6, 4.5), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if log_x:
        axes.set_xscale("log")
    axes.set_xlabel(xlabel, fontsize=12)
    axes.set_ylabel(ylabel, fontsize=12)
    axes.tick_params(labelsize=11)
    axes.grid(color="#E4E4E4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _colours(series: Sequence[Series]) -> dict[str, str]:
    known = (RIVALS, TRANSLATORS, REFINE, SMALL, REAL)
    shown = list(dict.fromkeys(one.family for one in series))
    if set(shown) <= set(known):
        shown = [family for family in known if family in shown]
        return {family: _COLOURS[known.index(family)] for family in shown}
    return {family: _COLOURS[number % len(_COLOURS)] for number, family in enumerate(shown)}


def _name_families(axes: Axes, colours: dict[str, str]) -> None:
    """The families above the picture, each in its colour."""
    if len(colours) < 2:
        return
    for family, colour in colours.items():
        axes.plot([], [], "o", color=colour, label=family)
    axes.figure.legend(
        loc="outside upper left", ncols=2, fontsize=_FONT, frameon=False, labelcolor="linecolor", handletextpad=0.1
    )


def _finish_axis(axes: Axes, log_x: bool) -> None:
    """Plain numbers in place of powers of ten."""
    if not log_x:
        return
    low, high = axes.get_xlim()
    subs = (1, 2, 5) if high < 50 * low else (1, 3)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _place_labels(axes: Axes, series: Sequence[Series], colours: dict[str, str]) -> None:
    """Put each label where it covers no point, no line and no other label, as near to its point as that allows."""
    renderer = axes.figure.canvas.get_renderer()
    paths = [axes.transData.transform(np.column_stack([one.x, one.y])) for one in series]
    layout = _Layout(paths, axes.get_window_extent(renderer))
    for number in layout.order():
        one = series[number]
        if not one.label:
            continue
        text = axes.annotate(
            one.label, (one.x[-1], one.y[-1]), (0, 0), textcoords="offset points", fontsize=_FONT,
            color=colours[one.family], va="center", ha="left", arrowprops=_leader(colours[one.family]),
        )  # fmt: skip
        size = text.get_window_extent(renderer)
        box, near = layout.place(number, size.width, size.height)
        left, middle = np.array([box.x0, (box.y0 + box.y1) / 2]) - layout.ends[number]
        text.set_position((left / _PIXELS, middle / _PIXELS))
        text.arrow_patch.set_visible(not near)


class _Layout:
    """Where labels stand, in pixels.

    Attributes:
        ends: the points that are labelled, `[n, 2]`.
    """

    def __init__(self, paths: Sequence[np.ndarray], inside: Bbox):
        """For paths of pixels `[k, 2]` within a box."""
        self.ends = np.array([path[-1] for path in paths])
        self._inside = inside
        self._taken = np.concatenate([_along(path) for path in paths])
        self._boxes: list[Bbox] = []

    def order(self) -> np.ndarray:
        """The most crowded points choose first."""
        crowd = [np.sum(np.hypot(*(self.ends - end).T) < 150) for end in self.ends]
        return np.argsort(crowd, kind="stable")[::-1]

    def place(self, number: int, width: float, height: float) -> tuple[Bbox, bool]:
        """Choose the box of a label of some size, and whether it is so near that it needs no line to its point."""
        end = self.ends[number]
        candidates = [
            (radius, up, _box(end, radius, along, up, width, height)) for radius in _RADII for along, up in _DIRECTIONS
        ]
        # Beside a point a label reads better than above it.
        radius, _, box = min(candidates, key=lambda one: one[0] + 4 * abs(one[1]) + self._cost(one[2], end))
        self._boxes.append(box)
        near = radius == _RADII[0]
        if not near:
            self._taken = np.concatenate([self._taken, _to_point(box, end)])
        return box, near

    def _cost(self, box: Bbox, end: np.ndarray) -> float:
        wide = box.padded(8, 4)
        covered = np.sum(np.all((self._taken > wide.min) & (self._taken < wide.max), axis=1))
        overlaps = sum(wide.overlaps(other) for other in self._boxes)
        crossed = sum(
            np.any(np.all((_to_point(box, end) > one.min - 4) & (_to_point(box, end) < one.max + 4), axis=1))
            for one in self._boxes
        )
        outside = np.sum(np.maximum(self._inside.min - box.min, 0) + np.maximum(box.max - self._inside.max, 0))
        # Nearer to other points than to its own, a label would be taken for theirs.
        gaps = np.hypot(*(np.clip(self.ends, box.min, box.max) - self.ends).T)
        own = np.hypot(*(np.clip(end, box.min, box.max) - end))
        return 1000 * overlaps + 200 * crossed + 60 * covered + 20 * outside + 25 * (np.sum(gaps < own + 4) - 1)


def _to_point(box: Bbox, end: np.ndarray) -> np.ndarray:
    """Pixels of the line from a label to its point."""
    return _along(np.array([np.clip(end, box.min, box.max), end]))


def _leader(colour: str) -> dict:
    """The line from a label to its point."""
    return {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}


def _along(path: np.ndarray) -> np.ndarray:
    """Pixels of a joined path, close to each other."""
    pieces = [path]
    for begin, end in itertools.pairwise(path):
        pieces.append(np.linspace(begin, end, max(int(np.hypot(*(end - begin)) / 6), 2)))
    return np.concatenate(pieces)


def _box(end: np.ndarray, radius: float, along: float, up: float, width: float, height: float) -> Bbox:
    """The box of a label whose nearest edge is so many points from its point, in a direction."""
    x, y = end + radius * _PIXELS * np.array([along, up])
    return Bbox.from_bounds(x - width * _share(along), y - height * _share(up), width, height)


def _share(direction: float) -> float:
    """How much of a label lies on the near side of where it is attached: none of it, all of it, or half."""
    return 0.5 if abs(direction) < 0.3 else float(direction < 0)


def _place_at_ends(axes: Axes, series: Sequence[Series], colours: dict[str, str]) -> None:
    """A column of labels right of the axes, in the order of the lines' ends, none upon another."""
    low, high = axes.get_ylim()
    ends = sorted(series, key=lambda one: one.y[-1])
    shares = np.array([(one.y[-1] - low) / (high - low) for one in ends])
    gap = 0.062
    places = shares.copy()
    for _ in range(200):
        for at in range(len(places) - 1):
            if (lack := gap - (places[at + 1] - places[at])) > 1e-6:
                places[at] -= lack / 2
                places[at + 1] += lack / 2
        places = np.clip(places, 0.0, 1.0)
    for one, place in zip(ends, places, strict=True):
        axes.annotate(
            one.label, (one.x[-1], one.y[-1]), (1.04, place), "data", "axes fraction", fontsize=_FONT, va="center",
            color=colours[one.family],
            arrowprops=_leader(colours[one.family]) | {"shrinkA": 1, "relpos": (0, 0.5)},
        )  # fmt: skip


def _save(figure: Figure, path: pathlib.Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")
