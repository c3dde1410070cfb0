"""TIFF files, which hold any number of bands of any type; those that Pillow does not read are read by tifffile."""

import os
from typing import BinaryIO

import numpy as np
from PIL import Image

from fsdd.errors import UserError

_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Tags: bits of each sample, samples of a pixel, and what those beyond the colours are.
_BITS, _SAMPLES, _EXTRA = 258, 277, 338
_PREMULTIPLIED = 1  # colours that Pillow divides by the transparency
# Of these Pillow's array has every band as it is in the file.
_BANDS_OF = {"L": 1, "I;16": 1, "I;16B": 1, "I;16L": 1, "I": 1, "F": 1, "LA": 2, "RGB": 3}
_BANDS_OF |= {"RGBA": 4, "RGBX": 4}
# Colours that are not red, green and blue: Pillow converts them.
_CONVERTED = ("1", "P", "CMYK", "YCbCr")


def is_tif(file: str | os.PathLike | BinaryIO) -> bool:
    """Whether a file is a TIFF, by its first bytes."""
    if hasattr(file, "read"):
        head = file.read(4)
        file.seek(0)
    else:
        with open(file, "rb") as opened:
            head = opened.read(4)
    return head in _SIGNATURES


def read(file: str | os.PathLike | BinaryIO, where: str) -> np.ndarray:
    """All bands of a TIFF: its samples or, where these are single, its pages of one size.

    Args:
        file: a path or an open binary file.
        where: what to call it in an error.

    Returns:
        `[h, w, c]` of the file's own type, none of the c bands left out: a fourth band is a band, whatever it is
        declared to be.

    Raises:
        UserError: tifffile is needed and not installed, or there are more axes.
    """
    simple = _read_by_pillow(file)
    if simple is not None:
        return simple
    try:
        import tifffile
    except ImportError as error:
        raise UserError(
            f"{where}: a TIFF of several bands or pages, or of more than 8 bits, needs tifffile; run "
            'pip install "fsdd[tif]"'
        ) from error
    if hasattr(file, "seek"):
        file.seek(0)
    with tifffile.TiffFile(file) as opened:
        series = opened.series[0]
        values, axes = series.asarray(), series.axes
    values = np.moveaxis(values, (axes.index("Y"), axes.index("X")), (0, 1))
    if sum(size > 1 for size in values.shape[2:]) > 1:
        raise UserError(f"{where}: a TIFF of axes {axes} and shape {series.shape}; allowed are height, width and bands")
    return values.reshape(*values.shape[:2], -1)


def _read_by_pillow(file: str | os.PathLike | BinaryIO) -> np.ndarray | None:
    """The bands of a TIFF that Pillow reads without loss; None for another."""
    try:
        image = Image.open(file)
    except Image.UnidentifiedImageError:
        return None
    with image:
        bits, samples = image.tag_v2.get(_BITS, (1,)), image.tag_v2.get(_SAMPLES, 1)
        premultiplied = _PREMULTIPLIED in image.tag_v2.get(_EXTRA, ())
        if image.n_frames > 1 or premultiplied or (max(bits) > 8 and samples > 1):
            return None
        if image.mode in _CONVERTED:
            values = np.asarray(image.convert("L" if image.mode == "1" else "RGB"))
        elif _BANDS_OF.get(image.mode) == samples:
            values = np.asarray(image)
        else:
            return None
    return values[:, :, None] if values.ndim == 2 else values
