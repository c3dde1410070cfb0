"""Whitening against plain float64 NumPy."""

import numpy as np
import pytest

from fsdd.core import whitening


def _pixels(n=300, side=6, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    smooth = rng.normal(size=(n, side * side * channels)) @ rng.normal(size=(side * side * channels,) * 2)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return np.round(smooth * 255).astype(np.uint8).reshape(n, side, side, channels)


def _textbook(pixels, regularisation=0.1):
    x = pixels.astype(np.float64) / 255
    x = (x - x.mean((0, 1, 2))) / x.std((0, 1, 2))
    x = x.reshape(len(x), -1)
    x = x - x.mean(0)
    covariance = x.T @ x / len(x)
    values, vectors = np.linalg.eigh(covariance)
    values = values + regularisation * np.trace(covariance) / len(covariance)
    return (x @ vectors / np.sqrt(values) @ vectors.T).reshape(pixels.shape)


@pytest.mark.parametrize("n", [2, 40, 107, 108, 300], ids="{} images of 108 values".format)
def test_zca_is_the_textbook_formula(n):
    pixels = _pixels(n)
    wanted = _textbook(pixels)
    assert np.linalg.norm(whitening.fit(pixels).apply(pixels) - wanted) < 1e-5 * np.linalg.norm(wanted)


@pytest.mark.parametrize("n", [40, 300], ids="{} images of 108 values".format)
def test_mtts_zca_is_kornias(n):
    """`kornia.enhance.ZCAWhitening(eps=0.1)` as written down in float64: unbiased, pixels not standardised."""
    pixels = _pixels(n)
    x = pixels.reshape(n, -1) / 255
    values, vectors = np.linalg.eigh(np.cov(x.T))
    wanted = ((x - x.mean(0)) @ vectors / np.sqrt(values + 0.1) @ vectors.T).reshape(pixels.shape)
    fitted = whitening.fit(pixels, "mtt_zca")
    assert np.linalg.norm(fitted.apply(pixels) - wanted) < 1e-5 * np.linalg.norm(wanted)
    assert np.abs(fitted.invert(wanted) - pixels / 255).max() < 1e-5
    assert fitted.kind == "zca"


def test_chunks_make_no_difference():
    pixels = _pixels()
    for rows in (7, 300):
        mean, covariance = whitening._moments(pixels, rows)
        flat = pixels.reshape(len(pixels), -1) / 255
        np.testing.assert_allclose(mean, flat.mean(0), rtol=1e-6)
        np.testing.assert_allclose(covariance, np.cov(flat.T, bias=True), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("channels", "kind"), [(1, "auto"), (3, "auto"), (1, "zca"), (3, "standardize")])
def test_inverse_gives_the_pixels_back(channels, kind):
    pixels = _pixels(channels=channels)
    fitted = whitening.fit(pixels, kind)
    assert fitted.kind == ("zca" if kind == "zca" or (kind, channels) == ("auto", 3) else "standardize")
    assert np.abs(fitted.invert(fitted.apply(pixels)) - pixels / 255).max() < 1e-5
    assert fitted.apply(pixels).dtype == np.float32


@pytest.mark.parametrize("n", [20, 107])
def test_few_images_are_whitened_as_by_their_covariance(n):
    pixels, unseen = _pixels(n), _pixels(50, seed=1)
    few, many = whitening._fit_few(pixels, 0.1), whitening._fit_many(pixels, 0.1)
    # Fewer than half as many keep their factors, which are smaller than the matrices.
    assert (few.transform is None) == (n == 20) and (few.factors is None) == (n == 107)
    for name in ("channel_mean", "channel_std", "mean", *(("transform", "inverse") if n == 107 else ())):
        np.testing.assert_allclose(getattr(few, name), getattr(many, name), rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(few.apply(unseen), many.apply(unseen), rtol=1e-3, atol=1e-3)
    whitened = many.apply(unseen)
    np.testing.assert_allclose(few.invert(whitened), many.invert(whitened), rtol=1e-3, atol=1e-3)


def test_floats_are_pixels_in_the_unit_interval():
    pixels = _pixels()
    np.testing.assert_allclose(
        whitening.fit(pixels / 255).apply(pixels / 255), whitening.fit(pixels).apply(pixels), atol=1e-5
    )


def test_a_constant_channel_stays_finite():
    pixels = _pixels()
    pixels[..., 1] = 7
    for kind in ("zca", "standardize"):
        fitted = whitening.fit(pixels, kind)
        assert np.isfinite(fitted.apply(pixels)).all()
        assert np.abs(fitted.invert(fitted.apply(pixels)) - pixels / 255).max() < 1e-4
