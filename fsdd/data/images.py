"""From encoded or decoded pictures to one uint8 array: square, all of one size, of as many channels as they have."""

import dataclasses
import os
import sys
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps, features
from tqdm import tqdm

from fsdd.data import tif
from fsdd.data.levels import to_bytes
from fsdd.errors import UserError, one_line

# What files of images are called; AVIF where this Pillow reads it.
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jfif", ".ppm", ".pgm", ".pbm", ".pnm")
SUFFIXES += (".avif",) * bool(features.check("avif"))

# Pillow's modes that hold 8 bits (or fewer) a channel, and those of wider grey pixels.
_GREY_MODES = ("1", "L", "LA", "La")
_COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
_WIDE_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")


@dataclasses.dataclass(frozen=True)
class Reading:
    """How pixels are read.

    Attributes:
        image_size: 0 to keep the size, else the side in pixels of the square that images are cropped and resized to.
        pixel_range: the numbers that are black and white in arrays, and in images of more than 8 bits; () takes 0 and 1
            of floats, and no integers but uint8.
        alpha_background: the colour, red, green and blue (or one grey) from 0 to 255, on which transparent images are
            laid.
    """

    image_size: int = 0
    pixel_range: tuple[float, ...] = ()
    alpha_background: tuple[int, ...] = (255, 255, 255)

    def recipe(self) -> list[Any]:
        """All of it, as JSON can hold it."""
        return [self.image_size, list(self.pixel_range), list(self.alpha_background)]


def decode(file: str | os.PathLike | BinaryIO, where: str, reading: Reading) -> np.ndarray:
    """Read one encoded image, of a moving one the first frame.

    A transparent image is laid on the background colour, and a camera's orientation tag is obeyed. All bands of a TIFF
    are kept as they are, also one that is declared to be transparency.

    Args:
        file: a path or an open binary file.
        where: what to call the image in an error.
        reading: how.

    Returns:
        uint8 `[h, h, c]`: c = 1 if the file is grey, 3 if it is of colours, or the bands of a TIFF.

    Raises:
        UserError: it cannot be read, has other numbers than `reading` allows, or is not square while its `image_size`
            is 0.
    """
    try:
        pixels = tif.read(file, where) if tif.is_tif(file) else _read(file, where, reading.alpha_background)
    except UserError:
        raise
    except Exception as error:  # damaged files make Pillow's plugins raise many types besides OSError
        raise UserError(f"{where}: not a readable image ({one_line(error)})") from error
    if pixels.dtype != np.uint8:
        pixels = to_bytes(where, pixels, reading.pixel_range)
    height, width = pixels.shape[:2]
    if not reading.image_size and width != height:
        raise UserError(f"{where}: image of {width}x{height} pixels is not square; set image_size")
    return _squared(pixels, reading.image_size) if reading.image_size else pixels


def _read(file: str | os.PathLike | BinaryIO, where: str, background: tuple[int, ...]) -> np.ndarray:
    """`[h, w, c]`, uint8 but for grey images of more bits."""
    with Image.open(file) as image:
        if image.mode not in _GREY_MODES + _COLOUR_MODES + _WIDE_MODES:
            raise UserError(f"{where}: pixels of Pillow mode {image.mode!r}; allowed are grey and colour images")
        ImageOps.exif_transpose(image, in_place=True)
        pixels = np.asarray(image) if image.mode in _WIDE_MODES else _flat(image, background)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _flat(image: Image.Image, background: tuple[int, ...]) -> np.ndarray:
    """Grey or RGB pixels, uint8 `[h, w]` or `[h, w, 3]`."""
    is_grey = image.mode in _GREY_MODES
    if not image.has_transparency_data:
        return np.asarray(image.convert("L" if is_grey else "RGB"))
    if image.mode == "La":
        image = image.convert("LA")
    layers = np.asarray(image.convert("RGBA")).astype(np.uint16)
    colour, alpha = layers[:, :, :3], layers[:, :, 3:]
    laid = ((colour * alpha + np.uint16(background) * (255 - alpha) + 127) // 255).astype(np.uint8)
    return laid[:, :, 0] if is_grey and len(set(background)) == 1 else laid


def stack(images: Iterable[tuple[str, np.ndarray]], count: int, label: str) -> np.ndarray:
    """Gather `count` decoded images in one array; if any of them is RGB, the grey ones become RGB.

    Args:
        images: pairs of a name for errors and uint8 `[h, h, c]`.
        count: how many images there are, n.
        label: what the progress bar says, which appears after 5 s.

    Returns:
        uint8 `[n, h, h, c]`.

    Raises:
        UserError: an image's size, or its number of channels, differs from the first one's.
    """
    stacked = np.zeros((0, 0, 0, 0), np.uint8)
    # In a log, a line every half minute is enough.
    interval = 0.5 if sys.stderr.isatty() else 30.0
    for index, (where, image) in enumerate(tqdm(images, label, count, delay=5, mininterval=interval)):
        height, width, channels = image.shape
        if index == 0:
            stacked = np.empty((count, *image.shape), np.uint8)
        elif (height, width) != stacked.shape[1:3]:
            raise UserError(
                f"{where}: image of {width}x{height} pixels, but the first one has {stacked.shape[2]}x"
                f"{stacked.shape[1]}; set image_size"
            )
        if {channels, stacked.shape[3]} == {1, 3}:
            stacked = np.repeat(stacked, 3, axis=3) if channels == 3 else stacked
        elif channels != stacked.shape[3]:
            raise UserError(
                f"{where}: image of {channels} bands, but the ones before have {stacked.shape[3]}; allowed are images "
                "of as many bands, or grey ones among colours"
            )
        stacked[index] = image  # broadcasts a grey image over three channels
    return stacked


def resize(images: np.ndarray, image_size: int) -> np.ndarray:
    """Centre-crop uint8 `[n, h, w, c]` to squares and resize them to `[n, image_size, image_size, c]`; 0 keeps them."""
    if not image_size or images.shape[1:3] == (image_size, image_size):
        return images
    resized = np.empty((len(images), image_size, image_size, images.shape[3]), np.uint8)
    for index, image in enumerate(images):
        resized[index] = _squared(image, image_size)
    return resized


def _squared(pixels: np.ndarray, side: int) -> np.ndarray:
    """The largest central square of uint8 `[h, w, c]`, resized to `[side, side, c]`."""
    if pixels.shape[2] == 3:
        return np.asarray(_square(Image.fromarray(pixels), side))
    bands = [_square(Image.fromarray(np.ascontiguousarray(band)), side) for band in np.moveaxis(pixels, 2, 0)]
    return np.stack([np.asarray(band) for band in bands], axis=2)


def _square(image: Image.Image, side: int) -> Image.Image:
    """The largest central square of `image`, resized to `side` pixels."""
    shorter = min(image.size)
    left, top = (image.width - shorter) // 2, (image.height - shorter) // 2
    return image.crop((left, top, left + shorter, top + shorter)).resize((side, side), Image.Resampling.LANCZOS)
