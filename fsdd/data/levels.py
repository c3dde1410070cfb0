"""From the numbers that images are stored as to bytes: which number is black, and which is white."""

import numpy as np

from fsdd.errors import UserError

_ROWS = 4096  # converted at a time, so that few doubles are in memory
_ALLOWED = "allowed are uint8, floats in [0, 1], or others with config.pixel_range=(BLACK, WHITE)"


def to_bytes(where: str, values: np.ndarray, pixel_range: tuple[float, ...] = ()) -> np.ndarray:
    """Numbers of any kind as uint8 of the same shape.

    Args:
        where: what to call them in an error.
        values: truth values, whole numbers or floats.
        pixel_range: the numbers that are black and white; what lies beyond is cut off. With () uint8 is kept as it is,
            and floats are 0 to 1.

    Raises:
        UserError: numbers that are not finite, or that need a `pixel_range`.
    """
    if values.dtype.kind not in "biuf":
        raise UserError(f"{where}: of type {values.dtype}; {_ALLOWED}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise UserError(f"{where}: has NaN or infinite values; {_ALLOWED}")
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    if pixel_range:
        return _scaled(values, *pixel_range)
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    if values.size and (values.dtype.kind != "f" or not 0 <= values.min() <= values.max() <= 1):
        raise UserError(f"{where}: {values.dtype} from {values.min():g} to {values.max():g}; {_ALLOWED}")
    return np.rint(values.astype(np.float32) * 255).astype(np.uint8)


def cut_off(values: np.ndarray, pixel_range: tuple[float, ...]) -> float:
    """The share of numbers that lie beyond black and white."""
    if not pixel_range or not values.size or values.dtype == bool:
        return 0.0
    low, high = sorted(pixel_range)
    return float(np.mean((values < low) | (values > high)))


def _scaled(values: np.ndarray, black: float, white: float) -> np.ndarray:
    scaled = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _ROWS):
        share = (values[start : start + _ROWS].astype(np.float64) - black) / (white - black)
        scaled[start : start + _ROWS] = np.rint(np.clip(share, 0, 1) * 255)
    return scaled
