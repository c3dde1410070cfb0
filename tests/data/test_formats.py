"""Files of images of all kinds: which pixels they give, under which fields, and what is refused."""

import pathlib
import sys

import numpy as np
import pytest
from images_on_disk import of_train, save
from PIL import Image

from fsdd.data.images import SUFFIXES, Reading, decode
from fsdd.data.sources import load
from fsdd.errors import UserError

tifffile = pytest.importorskip("tifffile")


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def read(path: pathlib.Path, **options) -> np.ndarray:
    return decode(path, str(path), Reading(**options))


def refusal(path: pathlib.Path, **options) -> str:
    with pytest.raises(UserError) as error:
        read(path, **options)
    assert "\n" not in str(error.value) and path.name in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_suffix_is_read(tmp_path, suffix):
    lossy = {".jpg", ".jpeg", ".jfif", ".avif"}
    values = {}
    for name, value in {"a": 40, "b": 200}.items():
        path = tmp_path / name / f"0{suffix if name == 'a' else suffix.upper()}"
        grey = suffix in (".pgm", ".pbm")
        path.parent.mkdir()
        image = Image.fromarray(np.full((4, 4), value, np.uint8))
        image = image if grey else image.convert("RGB")
        kind = {".jfif": "JPEG", ".pgm": "PPM", ".pbm": "PPM", ".pnm": "PPM"}.get(suffix)
        lossless = {"lossless": True} if suffix == ".webp" else {}
        image.save(path, kind, **({"quality": 100} if suffix in lossy else lossless))
        values[name] = value
    found = dict(of_train(load(str(tmp_path), test_fraction=0.0)))
    assert found.keys() == values.keys()
    assert all(abs(found[name] - values[name]) <= 2 * (suffix in lossy) for name in values)


def test_of_a_moving_image_the_first_frame_is_read(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("#ff0000", "#00ff00", "#0000ff")]
    for suffix in ("gif", "webp", "png"):
        options = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(tmp_path / f"x.{suffix}", save_all=True, append_images=frames[1:], **options)
        assert (read(tmp_path / f"x.{suffix}") == [255, 0, 0]).all()


# ---- transparency


def black_shape(mode: str) -> tuple[Image.Image, np.ndarray]:
    """A black disc on a transparent ground of junk, and where the disc is."""
    rows, columns = np.mgrid[:8, :8]
    inside = (rows - 3.5) ** 2 + (columns - 3.5) ** 2 < 9
    layers = noise(8, 8, 4)
    layers[inside, :3], layers[..., 3] = 0, np.where(inside, 255, 0)
    if mode == "LA":
        return Image.fromarray(np.ascontiguousarray(layers[..., [0, 3]])), inside
    return Image.fromarray(layers), inside


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_transparent_image_is_laid_on_the_background(tmp_path, mode):
    image, inside = black_shape(mode)
    image.save(tmp_path / "x.png")
    white = read(tmp_path / "x.png")
    assert white.shape == (8, 8, 3 if mode == "RGBA" else 1)
    assert (white[inside] == 0).all() and (white[~inside] == 255).all()
    blue = read(tmp_path / "x.png", alpha_background=(10, 20, 200))
    assert (blue[inside] == 0).all() and (blue[~inside] == (10, 20, 200)).all()
    if mode == "RGBA":
        image.save(tmp_path / "x.webp", lossless=True)
        np.testing.assert_array_equal(read(tmp_path / "x.webp"), white)


def test_half_transparent_pixels_are_mixed(tmp_path):
    layers = np.zeros((1, 1, 4), np.uint8)
    layers[...] = (100, 0, 255, 51)  # a fifth
    Image.fromarray(layers).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read(tmp_path / "x.png")[0, 0], [224, 204, 255])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_palettes_with_transparency_are_laid_on_the_background(tmp_path, suffix):
    image = Image.fromarray(np.array([[0, 1], [1, 2]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 200, 100, 50, 0, 0, 0])
    image.save(tmp_path / f"x.{suffix}", transparency=1)
    wanted = [[[10, 20, 30], [9, 8, 7]], [[9, 8, 7], [0, 0, 0]]]
    np.testing.assert_array_equal(read(tmp_path / f"x.{suffix}", alpha_background=(9, 8, 7)), wanted)


# ---- more than 8 bits


def test_sixteen_bits_need_a_pixel_range(tmp_path):
    values = np.array([[0, 1000], [2000, 4095]], np.uint16)
    for suffix in ("png", "tif"):
        Image.fromarray(values).save(tmp_path / f"x.{suffix}")
        assert "uint16 from 0 to 4095" in refusal(tmp_path / f"x.{suffix}")
        assert "config.pixel_range=(BLACK, WHITE)" in refusal(tmp_path / f"x.{suffix}")
        found = read(tmp_path / f"x.{suffix}", pixel_range=(0, 4000))
        np.testing.assert_array_equal(found[:, :, 0], [[0, 64], [128, 255]])
        # Of X-rays the largest number is often black.
        np.testing.assert_array_equal(
            read(tmp_path / f"x.{suffix}", pixel_range=(4095, 0))[:, :, 0], [[255, 193], [130, 0]]
        )


def test_floats_of_a_tif(tmp_path):
    values = np.array([[0, 0.2], [0.4, 1]], np.float32)
    tifffile.imwrite(tmp_path / "x.tif", values)
    np.testing.assert_array_equal(read(tmp_path / "x.tif")[:, :, 0], [[0, 51], [102, 255]])
    tifffile.imwrite(tmp_path / "y.tif", values * 10 - 5)
    assert "config.pixel_range" in refusal(tmp_path / "y.tif")
    found = read(tmp_path / "y.tif", pixel_range=(-5, 5))
    np.testing.assert_array_equal(found[:, :, 0], [[0, 51], [102, 255]])


def test_a_pixel_range_leaves_files_of_8_bits_as_they_are(tmp_path):
    save(tmp_path / "x.png", 40)
    assert (read(tmp_path / "x.png", pixel_range=(0, 65535)) == 40).all()


# ---- bands


@pytest.mark.parametrize("bands", [2, 4, 5, 13])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("layout", ["samples", "planes", "pages"])
def test_all_bands_of_a_tif_are_kept(tmp_path, bands, dtype, layout):
    values = noise(6, 6, bands).astype(dtype)
    options = {"photometric": "minisblack"}
    if layout == "pages":
        tifffile.imwrite(tmp_path / "x.tif", np.moveaxis(values, 2, 0), **options)
    elif layout == "planes":
        tifffile.imwrite(tmp_path / "x.tif", np.moveaxis(values, 2, 0), planarconfig="separate", **options)
    else:
        tifffile.imwrite(tmp_path / "x.tif", values, planarconfig="contig", **options)
    found = read(tmp_path / "x.tif", pixel_range=(0, 255))
    np.testing.assert_array_equal(found, values.astype(np.uint8), strict=True)
    small = read(tmp_path / "x.tif", pixel_range=(0, 255), image_size=3)
    last = Image.fromarray(values[:, :, -1].astype(np.uint8)).resize((3, 3), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(small[:, :, -1], np.asarray(last))


@pytest.mark.parametrize("extra", ["unspecified", "assocalpha", "unassalpha"])
def test_a_fourth_band_of_a_tif_is_a_band_whatever_it_is_called(tmp_path, extra):
    values = noise(6, 6, 4)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="rgb", extrasamples=[extra])
    np.testing.assert_array_equal(read(tmp_path / "x.tif"), values)


def test_sixteen_bits_of_colour_in_a_tif_are_not_cut_to_their_high_byte(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", noise(6, 6, 3).astype(np.uint16) * 4, photometric="rgb")
    assert "config.pixel_range" in refusal(tmp_path / "x.tif")
    np.testing.assert_array_equal(read(tmp_path / "x.tif", pixel_range=(0, 1020)), noise(6, 6, 3))


def test_a_tif_of_more_axes_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", noise(2, 3, 6, 6), photometric="minisblack", metadata={"axes": "TZYX"})
    assert "axes TZYX" in refusal(tmp_path / "x.tif")


def test_images_of_other_numbers_of_bands_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    tifffile.imwrite(tmp_path / "a/0.tif", noise(4, 4, 4), photometric="minisblack", planarconfig="contig")
    save(tmp_path / "a/1.png", 0)
    with pytest.raises(UserError, match=r"a/1.png: image of 3 bands, but the ones before have 4"):
        load(str(tmp_path))


def test_without_tifffile_plain_tifs_are_read_and_others_say_what_to_install(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "plain.tif", noise(6, 6, 3), photometric="rgb")
    tifffile.imwrite(tmp_path / "bands.tif", noise(6, 6, 5), photometric="minisblack", planarconfig="contig")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    np.testing.assert_array_equal(read(tmp_path / "plain.tif"), noise(6, 6, 3))
    assert 'pip install "fsdd[tif]"' in refusal(tmp_path / "bands.tif")
