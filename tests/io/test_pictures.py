import os

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

from fsdd.errors import UserError
from fsdd.io import pictures


def read(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def places(picture: np.ndarray, tile: np.ndarray) -> np.ndarray:
    """Rows and columns `[k, 2]` at which a tile occurs in a picture, pixel for pixel."""
    height, width = tile.shape[:2]
    found = [
        (y, x)
        for y, x in np.argwhere((picture == tile[0, 0]).all(-1))
        if np.array_equal(picture[y : y + height, x : x + width], tile)
    ]
    return np.array(found).reshape(-1, 2)


def enlarged(pixels: np.ndarray, scale: int) -> np.ndarray:
    tile = np.rint(pixels * 255).astype(np.uint8).repeat(scale, 0).repeat(scale, 1)
    return np.broadcast_to(tile, (*tile.shape[:2], 3))


@pytest.mark.parametrize(("side", "channels", "scale"), [(8, 1, 8), (28, 1, 2), (32, 3, 2), (64, 3, 1), (96, 3, 1)])
def test_grid_holds_the_pixels_in_their_places(tmp_path, side, channels, scale):
    rng = np.random.default_rng(0)
    classes = np.array([0, 0, 2, 2])
    columns = {name: rng.uniform(size=(4, side, side, channels)) for name in ("real start", "S translated")}
    pictures.grid(tmp_path / "grid.png", columns, classes, ["ant", "bee", "cat"])
    picture = read(tmp_path / "grid.png")
    found = {}
    for name, pixels in columns.items():
        for row in range(4):
            matches = places(picture, enlarged(pixels[row], scale))
            assert len(matches) == 1
            found[name, row] = matches[0]
    first, second = "real start", "S translated"
    step = side * scale + 2
    np.testing.assert_array_equal(found[first, 1] - found[first, 0], [0, step])  # One class: side by side.
    np.testing.assert_array_equal(found[first, 2] - found[first, 0], [step, 0])  # The next class: below.
    assert found[second, 0][0] == found[first, 0][0] and found[second, 0][1] > found[first, 1][1] + side * scale
    assert os.listdir(tmp_path) == ["grid.png"]


def test_a_hundred_classes_stay_sane(tmp_path):
    pixels = np.random.default_rng(0).uniform(size=(300, 8, 8, 1))
    names = [f"class {index}" for index in range(100)]
    classes = np.repeat(np.arange(100), 3)
    pictures.grid(tmp_path / "all.png", {"S": pixels}, classes, names, images_per_class=2)
    picture = read(tmp_path / "all.png")
    assert 20 * 66 < picture.shape[0] < 20 * 66 + 200 and picture.shape[1] < 600
    assert len(places(picture, enlarged(pixels[0], 8))) == 1  # The first class and the last are among those shown,
    assert len(places(picture, enlarged(pixels[298], 8))) == 1
    assert len(places(picture, enlarged(pixels[299], 8))) == 0  # and of each only two images.


def test_what_is_left_out_is_said_above(tmp_path):
    pixels, classes = np.zeros((6, 8, 8, 1)), np.repeat(np.arange(3), 2)
    heights = {}
    for name, options in {"whole": {}, "images": {"images_per_class": 1}, "classes": {"max_classes": 2}}.items():
        pictures.grid(tmp_path / name, {"S": pixels}, classes, ["a", "b", "c"], **options)
        picture = read(tmp_path / name)
        heights[name] = int(np.argmax((picture == 0).all(-1).sum(1) >= 64))  # Where the first image begins.
    assert heights["images"] > heights["whole"] and heights["classes"] > heights["whole"]


def test_values_outside_the_range_are_clipped(tmp_path):
    pixels = np.full((1, 8, 8, 3), 1.5)
    pixels[:, :, 4:] = -1
    pictures.grid(tmp_path / "grid.png", {"S": pixels}, np.array([0]), ["a"])
    assert len(places(read(tmp_path / "grid.png"), enlarged(np.clip(pixels[0, :, 4:], 0, 1), 8))) == 1


def test_dollars_and_long_names_are_only_text(tmp_path):
    names = ["$x^$ cost $", "a very long name " * 10, ""]
    pictures.grid(tmp_path / "grid.png", {"S_$\\bad$" * 9: np.zeros((3, 8, 8, 1))}, np.arange(3), names)
    assert read(tmp_path / "grid.png").shape[1] < 700
    pictures.curve(tmp_path / "curve.png", {"$\\bad$": ([1], [2])}, "$x^$", "$y_$", title="$^$")


def test_grid_refuses_panels_that_do_not_fit(tmp_path):
    for columns in ({}, {"S": np.zeros((2, 8, 8, 1))}):
        with pytest.raises(ValueError, match="panels of 3 images"):
            pictures.grid(tmp_path / "grid.png", columns, np.arange(3), "abc")
    assert not list(tmp_path.iterdir())


def colours(picture: np.ndarray) -> set[str]:
    values, counts = np.unique(picture @ np.array([1 << 16, 1 << 8, 1]), return_counts=True)
    return {f"#{value:06X}" for value in values[counts > 300]}


def test_curve_has_its_size_and_colours(tmp_path):
    x = np.arange(1, 101)
    series = {name: (x, x * slope + 0.5) for name, slope in (("1 Net", 1), ("w Ada", 2), ("Baseline", 3))}
    pictures.curve(tmp_path / "curve.png", series, "step", "loss")
    picture = read(tmp_path / "curve.png")
    assert picture.shape == (800, 1200, 3)
    assert {"#0072B2", "#D55E00", "#009E73"} <= colours(picture) and "#CC79A7" not in colours(picture)


@pytest.mark.parametrize("decades", [1, 8])
def test_logarithmic_axes_move_the_line(tmp_path, decades):
    x = np.logspace(0, decades, 50)
    pictures.curve(tmp_path / "log.png", {"a": (x, x)}, "step", "loss", log_x=True, log_y=True)
    pictures.curve(tmp_path / "linear.png", {"a": (x, x**2)}, "step", "loss")
    straight = read(tmp_path / "log.png")
    ys, xs = np.nonzero((straight == (0x00, 0x72, 0xB2)).all(-1))
    keep = xs > 450  # Right of the legend.
    assert np.corrcoef(xs[keep], ys[keep])[0, 1] < -0.99  # A power law is a straight line.
    assert not np.array_equal(straight, read(tmp_path / "linear.png"))


def test_curve_takes_gaps_single_points_and_many_series(tmp_path):
    series = {f"series {number}": ([0, 1, 2], [number, np.nan, number]) for number in range(9)}
    pictures.curve(tmp_path / "curve.png", {**series, "point": ([1], [4])}, "x", "y")
    assert len(colours(read(tmp_path / "curve.png")) & set(pictures._COLOURS)) == 7
    with pytest.raises(ValueError, match="one or more"):
        pictures.curve(tmp_path / "curve.png", {}, "x", "y")


def test_single_points_of_one_colour_have_different_shapes(tmp_path):
    points = {f"series {number}": ([number % 7], [number // 7]) for number in range(21)}
    pictures.curve(tmp_path / "curve.png", points, "x", "y")
    blue = (read(tmp_path / "curve.png") == (0x00, 0x72, 0xB2)).all(-1)
    blobs, count = scipy.ndimage.label(blue)
    leftmost = sorted(range(1, count + 1), key=lambda blob: np.nonzero(blobs == blob)[1].min())[:3]
    sizes = {int(np.sum(blobs == blob)) for blob in leftmost}
    assert len(sizes) == 3  # A disc, a square and a triangle of one width.


def test_pictures_are_atomic_and_leave_pyplot_alone(tmp_path):
    import matplotlib.pyplot

    pictures.curve(tmp_path / "curve.png", {"a": ([1, 2], [1, 2])}, "x", "y")
    before = (tmp_path / "curve.png").read_bytes()
    with pytest.raises(ValueError):
        pictures.curve(tmp_path / "curve.png", {"a": ([1, 2], [1])}, "x", "y")
    assert (tmp_path / "curve.png").read_bytes() == before
    with pytest.raises(UserError, match="cannot be written"):
        pictures.curve(tmp_path / "curve.png" / "below.png", {"a": ([1], [1])}, "x", "y")
    assert os.listdir(tmp_path) == ["curve.png"] and not matplotlib.pyplot.get_fignums()


@pytest.mark.parametrize(
    ("channels", "bands", "shown"),
    [
        (1, (), [0]),
        (2, (), [0]),
        (3, (), [0, 1, 2]),
        (4, (), [0, 1, 2]),
        (13, (), [0, 1, 2]),
        (13, (3, 2, 12), [3, 2, 12]),
        (4, (3,), [3]),
        (3, (2, 1, 0), [2, 1, 0]),
    ],
)
def test_the_bands_that_pictures_show(tmp_path, channels, bands, shown):
    values = np.arange(1, channels + 1) / 20
    pixels = np.broadcast_to(values, (2, 8, 8, channels))
    np.testing.assert_array_equal(pictures.visible_bands(pixels, bands), pixels[..., shown])
    pictures.grid(tmp_path / "grid.png", {"S": pixels}, np.arange(2), ["a", "b"], bands=bands)
    colours = np.unique(np.asarray(Image.open(tmp_path / "grid.png").convert("RGB")).reshape(-1, 3), axis=0).tolist()
    wanted = np.rint(values[shown] * 255).astype(int).tolist()
    assert (wanted * 3 if len(wanted) == 1 else wanted) in colours
