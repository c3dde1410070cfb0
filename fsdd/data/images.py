"""From encoded or decoded pictures to one uint8 array: grey or RGB, square, all of one size."""

import os
import sys
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from fsdd.errors import UserError, one_line

# Pillow's modes that hold 8 bits (or fewer) a channel; wider ones ("I;16", "F") would be clipped in silence.
_GREY_MODES = ("1", "L", "LA")
_COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


def decode(file: str | os.PathLike | BinaryIO, where: str, image_size: int) -> np.ndarray:
    """Read one encoded image.

    An alpha channel is dropped and a camera's orientation tag is obeyed.

    Args:
        file: a path or an open binary file.
        where: what to call the image in an error.
        image_size: 0 to keep the size, else the side in pixels of the square it is cropped and resized to.

    Returns:
        uint8 `[h, h, c]`, c = 1 if the file is grey, else 3.

    Raises:
        UserError: it cannot be read, has more than 8 bits a channel, or is not square while `image_size` is 0.
    """
    try:
        with Image.open(file) as image:
            mode = image.mode
            if mode in _GREY_MODES + _COLOUR_MODES:
                ImageOps.exif_transpose(image, in_place=True)
                image = _flat(image)
    except Exception as error:  # damaged files make Pillow's plugins raise many types besides OSError
        raise UserError(f"{where}: not a readable image ({one_line(error)})") from error
    if mode not in _GREY_MODES + _COLOUR_MODES:
        raise UserError(f"{where}: pixels of Pillow mode {mode!r}; allowed are 8-bit grey and 8-bit colour images")
    if not image_size and image.width != image.height:
        raise UserError(f"{where}: image of {image.width}x{image.height} pixels is not square; set image_size")
    pixels = np.asarray(_square(image, image_size) if image_size else image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def stack(images: Iterable[tuple[str, np.ndarray]], count: int, label: str) -> np.ndarray:
    """Gather `count` decoded images in one array; if any of them is RGB, the grey ones become RGB.

    Args:
        images: pairs of a name for errors and uint8 `[h, h, c]`, c = 1 or 3.
        count: how many images there are, n.
        label: what the progress bar says, which appears after 5 s.

    Returns:
        uint8 `[n, h, h, c]`.

    Raises:
        UserError: an image's size differs from the first one's.
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
        if channels > stacked.shape[3]:
            stacked = np.repeat(stacked, channels, axis=3)
        stacked[index] = image  # broadcasts a grey image over three channels
    return stacked


def resize(images: np.ndarray, image_size: int) -> np.ndarray:
    """Centre-crop uint8 `[n, h, w, c]` to squares and resize them to `[n, image_size, image_size, c]`; 0 keeps them."""
    if not image_size or images.shape[1:3] == (image_size, image_size):
        return images
    resized = np.empty((len(images), image_size, image_size, images.shape[3]), np.uint8)
    for index, image in enumerate(images):
        square = np.asarray(_square(Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image), image_size))
        resized[index] = square.reshape(resized.shape[1:])
    return resized


def _flat(image: Image.Image) -> Image.Image:
    """`image` in mode L or RGB."""
    if image.mode in ("L", "RGB"):
        image.load()
        return image
    if image.mode in _GREY_MODES:
        return image.convert("L")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # by way of RGBA, because Pillow warns of palettes with transparency otherwise
    return image.convert("RGB")


def _square(image: Image.Image, side: int) -> Image.Image:
    """The largest central square of `image`, resized to `side` pixels."""
    shorter = min(image.size)
    left, top = (image.width - shorter) // 2, (image.height - shorter) // 2
    return image.crop((left, top, left + shorter, top + shorter)).resize((side, side), Image.Resampling.LANCZOS)
