"""How far two sums may be apart that differ in nothing but the order of their additions."""

import math

import numpy as np


def sum_tolerance(terms: int, magnitude: float = 1.0, dtype=np.float32, factor: float = 8.0) -> dict[str, float]:
    """The `rtol` and `atol` of `numpy.testing.assert_allclose` for sums of so many terms.

    Every addition rounds the sum so far by up to eps / 2 of it, up or down. Over n additions that comes to a standard
    deviation of less than eps sqrt(n) / 2 times the sum where terms have one sign, and times the root of the sum of
    their squares where they have both. A sum of terms that cancel may be far smaller than either: hence `atol`.

    Args:
        terms: n. Of sums of sums, one after the other, all of them.
        magnitude: the root of the sum of the squares of a sum's terms, at most. That of independent terms is about as
            large as their sum usually is.
        dtype: in which they are added up.
        factor: how many times eps sqrt(n) passes: 8 are eleven standard deviations of the difference of two sums.
    """
    relative = factor * float(np.finfo(dtype).eps) * math.sqrt(terms)
    return {"rtol": relative, "atol": relative * magnitude}
