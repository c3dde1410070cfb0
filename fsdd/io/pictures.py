"""Pictures for people: grids of images, and curves."""

import math
import pathlib
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from matplotlib.ticker import LogLocator, NullFormatter

from fsdd.io.atomic import replacing

_DPI = 100
_CELL = 64  # Side in pixels that small images are enlarged to, by a whole factor.
_GAP = 2
_MARGIN = 16
_FONT = 22  # Pixels.
_LINE = 28  # Pixels from one line of text to the next.
_INK = "#222222"
# Okabe and Ito's palette: told apart by all common kinds of colour vision. Without its yellow, too faint on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
# Line and marker of each round through the colours: single points of one colour are told apart as well.
_STYLES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"))


def grid(
    path: str | pathlib.Path,
    columns: Mapping[str, np.ndarray],
    classes: np.ndarray,
    class_names: Sequence[str],
    images_per_class: int = 10,
    max_classes: int = 20,
    bands: Sequence[int] = (),
) -> None:
    """Draw image sets side by side as a PNG: a panel for each set, a row for each class.

    Small images are enlarged by a whole factor without smoothing. What is left out is said in the picture.

    Args:
        path: the PNG file to write.
        columns: title -> pixels `[n, h, w, c]` in [0, 1] (clipped if outside); sizes may differ between panels.
        classes: int `[n]`, the class of each row, the same for all panels.
        class_names: the name of each class.
        images_per_class: the most images of a class in each panel: the first ones.
        max_classes: at most so many classes, evenly chosen.
        bands: see `visible_bands`; of more channels than three the picture says which it shows.

    Raises:
        ValueError: no panel, or one whose rows are not those of `classes`.
        UserError: the file cannot be written.
    """
    classes = np.asarray(classes)
    if not columns or any(len(pixels) != len(classes) for pixels in columns.values()):
        raise ValueError(f"expected one or more panels of {len(classes)} images each")
    present, counts = np.unique(classes, return_counts=True)
    places = np.linspace(0, len(present) - 1, min(max_classes, len(present))).round().astype(int)
    shown = [np.flatnonzero(classes == label)[:images_per_class] for label in present[places]]
    notes = []
    if len(shown) < len(present):
        notes.append(f"{len(shown)} of {len(present)} classes, evenly chosen")
    if counts.max() > images_per_class:
        notes.append(f"the first {images_per_class} of {counts.max()} images per class")
    channels = max(pixels.shape[3] for pixels in columns.values())
    if channels not in (1, 3) or bands:
        notes.append(f"bands {', '.join(map(str, _chosen(channels, bands)))} of {channels}, counted from 0")
    panels = [_panel(visible_bands(np.asarray(pixels), bands), shown) for pixels in columns.values()]
    names = [textwrap.shorten(str(class_names[label]), 24, placeholder="…") for label in present[places]]
    _draw_grid(pathlib.Path(path), list(columns), panels, names, "; ".join(notes))


def visible_bands(pixels: np.ndarray, bands: Sequence[int] = ()) -> np.ndarray:
    """What a picture shows of images of any number of bands: `[..., c]` -> `[..., 1]` in grey or `[..., 3]` in colours.

    Args:
        pixels: values of any type.
        bands: one or three, from 0; () is the first three, or the first where there are fewer.
    """
    return pixels[..., _chosen(pixels.shape[-1], bands)]


def _chosen(channels: int, bands: Sequence[int]) -> list[int]:
    return list(bands) or ([0, 1, 2] if channels >= 3 else [0])


def _panel(pixels: np.ndarray, shown: list[np.ndarray]) -> list[list[np.ndarray]]:
    """Enlarged RGB images, a list for every class."""
    scale = max(1, round(_CELL / max(pixels.shape[1:3])))
    # Rounded here: matplotlib would truncate.
    rgb = np.broadcast_to(np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8), (*pixels.shape[:3], 3))
    return [[rgb[row].repeat(scale, 0).repeat(scale, 1) for row in rows] for rows in shown]


def _draw_grid(
    path: pathlib.Path, titles: list[str], panels: list[list[list[np.ndarray]]], names: list[str], note: str
) -> None:
    """Lay out in whole pixels and paste the images unchanged: nothing is resampled."""
    row_height = max(panel[0][0].shape[0] for panel in panels) + _GAP
    cells = [panel[0][0].shape[1] + _GAP for panel in panels]
    per_row = max(len(row) for row in panels[0])
    # A panel of one image per class is widened so that its title takes few lines.
    widths = [max(cell * per_row, 190) for cell in cells]
    wrapped = [_wrap(title, width) for title, width in zip(titles, widths, strict=True)]
    left = 2 * _MARGIN + math.ceil(max(_text_width(name) for name in names))
    total = left + sum(width + _MARGIN for width in widths)
    notes = _wrap(note, total - 2 * _MARGIN) if note else []
    top = _MARGIN + _LINE * (len(notes) + max(len(lines) for lines in wrapped)) + _MARGIN // 2
    height = top + row_height * len(names) + _MARGIN

    figure = Figure(figsize=(total / _DPI, height / _DPI), dpi=_DPI, facecolor="white")

    def write(lines: list[str], x: float, y: float, **style: str) -> None:
        for number, line in enumerate(lines):
            position = x / total, 1 - (y + number * _LINE) / height
            figure.text(*position, _plain(line), fontsize=_FONT * 72 / _DPI, color=_INK, **style)

    write(notes, _MARGIN, _MARGIN, va="top", style="italic")
    for number, name in enumerate(names):
        write([name], left - _MARGIN, top + (number + 0.5) * row_height, va="center_baseline", ha="right")
    x = left
    for panel, lines, cell, width in zip(panels, wrapped, cells, widths, strict=True):
        write(lines, x, top - _LINE * len(lines) - _MARGIN // 2, va="top")
        for number, row in enumerate(panel):
            for place, image in enumerate(row):
                bottom = height - top - number * row_height - image.shape[0]
                figure.figimage(image, x + place * cell, bottom, origin="upper")
        x += width + _MARGIN
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)


def _plain(text: str) -> str:
    """Text in which a dollar is a dollar: matplotlib would take two for mathematics."""
    return text.replace("$", r"\$")


def _text_width(text: str) -> float:
    """Width in pixels."""
    return TextPath((0, 0), _plain(text), size=_FONT).get_extents().width if text.strip() else 0


def _wrap(text: str, width: float) -> list[str]:
    """Lines no wider than `width` pixels, unless a single word is."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _text_width(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def curve(
    path: str | pathlib.Path,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    xlabel: str,
    ylabel: str,
    log_x: bool = False,
    log_y: bool = False,
    title: str = "",
) -> None:
    """Draw lines as a PNG of 1200 x 800 pixels that stays readable at half the width.

    Args:
        path: the PNG file to write.
        series: name -> (x, y) of one length; values that are not finite leave a gap.
        xlabel: what x is, with its unit.
        ylabel: what y is, with its unit.
        log_x: a logarithmic x axis; values that are not positive are left out.
        log_y: the same for y.
        title: a line above, or none.

    Raises:
        ValueError: no series, or x and y of different lengths.
        UserError: the file cannot be written.
    """
    if not series:
        raise ValueError("expected one or more series")
    figure = Figure(figsize=(6, 4), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    for number, (name, (x, y)) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        dashes, marker = _STYLES[number // len(_COLOURS) % len(_STYLES)]
        # Few points are marked: a line alone would hide where they are, and a single point would not show at all.
        marker = marker if len(x) <= 20 else None
        axes.plot(x, y, label=_plain(name), color=colour, linestyle=dashes, marker=marker, linewidth=2, markersize=5)
    if log_x:
        axes.set_xscale("log")
        _label_logarithmic(axes.xaxis)
    if log_y:
        axes.set_yscale("log")
        _label_logarithmic(axes.yaxis)
    axes.set_xlabel(_plain(xlabel), fontsize=14)
    axes.set_ylabel(_plain(ylabel), fontsize=14)
    axes.set_title(_plain(title), fontsize=14)
    axes.tick_params(labelsize=13)
    axes.grid(color="#DDDDDD", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    if len(series) > 4:  # A long legend would cover the lines.
        figure.legend(fontsize=12, frameon=False, loc="outside right center", handlelength=2.5)
    else:
        axes.legend(fontsize=13, frameon=False)
    with replacing(pathlib.Path(path)) as temporary:
        figure.savefig(temporary, format="png")


def _label_logarithmic(axis: Axis) -> None:
    """Plain numbers in place of powers of ten; the fewer decades, the more numbers of each, so that none touch."""
    low, high = axis.get_view_interval()
    subs = (1, 2, 5) if high < 50 * low else (1, 3) if high < 1000 * low else (1,)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
