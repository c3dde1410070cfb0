"""Augmentation against SciPy and plain NumPy, and the laws its parameters are drawn by."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from fsdd.core import augmentation

KEY = jax.random.key(7)
affine, rotate = jax.jit(augmentation.affine), jax.jit(augmentation.rotate)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def many(kind, image, count=400, key=KEY):
    """One image under `count` draws of a kind."""
    return np.asarray(jax.jit(jax.vmap(kind, (0, None)))(jax.random.split(key, count), image))


def scipy_affine(image, matrix, offset):
    """Per channel, with zeros outside; SciPy turns about the first pixel, we about the centre."""
    centre = (np.array(image.shape[:2]) - 1) / 2
    shift = centre + offset - matrix @ centre
    channels = [
        scipy.ndimage.affine_transform(channel, matrix, shift, order=1, mode="grid-constant", cval=0.0)
        for channel in np.moveaxis(image.astype(np.float64), -1, 0)
    ]
    return np.stack(channels, -1)


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3), (9, 13, 2)])
@pytest.mark.parametrize(
    "matrix, offset",
    [
        ([[1.0, 0.0], [0.0, 1.0]], [1.3, -2.6]),
        ([[0.8, 0.0], [0.0, 0.8]], [0.0, 0.0]),
        ([[1.25, 0.0], [0.0, 1.25]], [0.7, 0.4]),
        ([[1 / 1.2, 0.0], [0.0, 1.2]], [0.0, 0.0]),
        ([[0.9, 0.3], [-0.2, 1.1]], [0.5, -3.0]),
        ([[1.0, 0.0], [0.0, 1.0]], [60.0, 0.0]),
    ],
)
def test_affine_agrees_with_scipy(shape, matrix, offset):
    image = noise(*shape)
    ours = affine(image, jnp.array(matrix), jnp.array(offset))
    np.testing.assert_allclose(ours, scipy_affine(image, np.array(matrix), np.array(offset)), atol=2e-5)


@pytest.mark.parametrize("degrees", [-15.0, 4.0, 15.0, 90.0])
def test_rotation_agrees_with_scipy(degrees):
    image = noise(16, 16, 3)
    theirs = scipy.ndimage.rotate(
        image.astype(np.float64), degrees, axes=(0, 1), reshape=False, order=1, mode="grid-constant"
    )
    np.testing.assert_allclose(rotate(image, np.deg2rad(degrees)), theirs, atol=2e-5)


def test_a_quarter_turn_is_anticlockwise():
    image = noise(8, 8, 3)
    np.testing.assert_allclose(rotate(image, np.pi / 2), np.rot90(image), atol=1e-5)


def test_identity_parameters_give_the_image_back():
    image = noise(12, 12, 3)
    np.testing.assert_array_equal(affine(image, jnp.eye(2), jnp.zeros(2)), image)
    np.testing.assert_array_equal(rotate(image, 0.0), image)
    np.testing.assert_allclose(augmentation.colour(image, 0.0, 1.0, 1.0), image, atol=1e-6)
    np.testing.assert_array_equal(augmentation.cutout(image, jnp.array([12, 0]), 4), image)


def test_affine_is_differentiable_through_the_image():
    image, weights = noise(6, 6, 1), noise(6, 6, 1, seed=1)
    turn = functools.partial(rotate, angle=0.2)
    value, gradient = jax.value_and_grad(lambda x: jnp.sum(weights * turn(x)))(image)
    assert float(jnp.sum(gradient * image)) == pytest.approx(float(value), rel=1e-4)  # affine is linear in the image
    assert np.abs(gradient).min() > 0


def test_colour_is_the_three_operations_in_any_order():
    image, brightness, contrast, saturation = noise(6, 6, 3), 0.3, 0.6, 1.7
    brighter = lambda x: x + brightness  # noqa: E731
    contrasted = lambda x: x.mean() + contrast * (x - x.mean())  # noqa: E731
    saturated = lambda x: x.mean(-1, keepdims=True) + saturation * (x - x.mean(-1, keepdims=True))  # noqa: E731
    ours = augmentation.colour(image, brightness, contrast, saturation)
    np.testing.assert_allclose(ours, contrasted(saturated(brighter(image))), atol=1e-5)
    np.testing.assert_allclose(ours, saturated(contrasted(brighter(image))), atol=1e-5)
    np.testing.assert_allclose(ours, brighter(contrasted(saturated(image))), atol=1e-5)


def test_saturation_leaves_grey_images_alone():
    image = noise(6, 6, 1)
    np.testing.assert_allclose(augmentation.colour(image, 0.0, 1.0, 5.0), image, atol=1e-6)


@pytest.mark.parametrize(
    "kind, brightness, contrast, saturation",
    [
        (augmentation.frepo_colour, 0.25, (np.exp(-0.25), np.exp(0.25)), (np.exp(-0.25), np.exp(0.25))),
        (augmentation.dsa_colour, 0.5, (0.5, 1.5), (0.0, 2.0)),
    ],
)
def test_colour_ranges(kind, brightness, contrast, saturation):
    image = noise(6, 6, 3)
    coloured = many(kind, image)
    grey, mean = image.mean(-1), image.mean()
    coloured_grey, coloured_mean = coloured.mean(-1), coloured.mean((1, 2, 3))
    contrasts = np.linalg.norm(coloured_grey - coloured_mean[:, None, None], axis=(1, 2)) / np.linalg.norm(grey - mean)
    chroma = np.linalg.norm((coloured - coloured_grey[..., None]).reshape(len(coloured), -1), axis=1)
    factors = chroma / np.linalg.norm(image - grey[..., None]) / contrasts
    ranges = {(-brightness, brightness): coloured_mean - mean, contrast: contrasts, saturation: factors}
    for (low, high), drawn in ranges.items() if contrast != saturation else [*ranges.items(), (contrast, contrasts)]:
        margin = 0.05 * (high - low)
        assert low - 1e-4 < drawn.min() < low + margin
        assert high - margin < drawn.max() < high + 1e-4


def test_flip_is_the_exact_mirror_of_half_the_images():
    image = noise(5, 5, 3)
    flipped = many(augmentation.random_flip, image)
    mirrored = (flipped == image[:, ::-1]).all((1, 2, 3))
    np.testing.assert_array_equal(flipped[~mirrored], np.broadcast_to(image, flipped[~mirrored].shape))
    assert 0.4 < mirrored.mean() < 0.6


def source_positions(kind, side, count=400):
    """`[count, 2, rows, columns]`: where each inner pixel of the output comes from, read off images of coordinates.

    They are relative to the image's centre; the frame is cut away, since zeros from outside leak into it.
    """
    rows, columns = np.mgrid[:side, :side].astype(np.float32) - (side - 1) / 2
    weight = np.ones_like(rows)
    seen = many(kind, np.stack([rows, columns, weight], -1), count)
    assert np.all(seen[..., 2] <= 1 + 1e-5)
    inner = slice(side * 3 // 8, side * 5 // 8)
    assert np.all(seen[:, inner, inner, 2] > 1 - 1e-5)
    return np.moveaxis(seen[:, inner, inner, :2], -1, 1)


def steps_and_centres(kind, side):
    """Per draw: how far the source moves per output row or column, and the source of the output's centre."""
    positions = source_positions(kind, side)
    rows = np.diff(positions, axis=2).mean((2, 3))
    columns = np.diff(positions, axis=3).mean((2, 3))
    return rows, columns, positions.mean((2, 3))


def test_rotation_turns_up_to_15_degrees_about_the_centre():
    rows, columns, centres = steps_and_centres(augmentation.random_rotation, 32)
    degrees = np.rad2deg(np.arctan2(columns[:, 0], columns[:, 1]))
    assert -15.01 < degrees.min() < -14 and 14 < degrees.max() < 15.01
    np.testing.assert_allclose(np.hypot(*rows.T), 1, atol=1e-4)
    np.testing.assert_allclose(centres, 0, atol=1e-4)


def test_frepo_zoom_is_alike_on_both_axes_and_stays_in_frame():
    rows, columns, centres = steps_and_centres(augmentation.frepo_zoom, 32)
    zooms = 1 / rows[:, 0]
    np.testing.assert_allclose(columns[:, 1], rows[:, 0], atol=1e-4)
    assert 0.799 < zooms.min() < 0.82 and 1.22 < zooms.max() < 1.251
    assert 0.4 < (zooms < 1).mean() < 0.6  # log-uniform
    slack = 16 * np.abs(1 - 1 / zooms)[:, None]
    assert np.all(np.abs(centres) <= slack + 1e-3)
    assert np.abs(centres / slack).max() > 0.95
    assert np.abs(np.corrcoef(centres.T)[0, 1]) < 0.2


def test_frepo_translation_is_up_to_an_eighth():
    rows, columns, centres = steps_and_centres(augmentation.frepo_translation, 32)
    np.testing.assert_allclose(rows, np.broadcast_to([1, 0], rows.shape), atol=1e-4)
    np.testing.assert_allclose(columns, np.broadcast_to([0, 1], rows.shape), atol=1e-4)
    assert np.all(np.abs(centres) <= 4 + 1e-4) and np.all(np.abs(centres).max(0) > 3.9)
    assert np.abs(centres - np.round(centres)).max() > 0.4  # not whole pixels


def test_dsa_scale_is_per_axis_about_the_centre():
    rows, columns, centres = steps_and_centres(augmentation.dsa_scale, 32)
    for steps in (rows[:, 0], columns[:, 1]):
        assert 1 / 1.2 - 1e-4 < steps.min() < 0.85 and 1.18 < steps.max() < 1.2001
    assert np.abs(np.corrcoef(rows[:, 0], columns[:, 1])[0, 1]) < 0.2
    np.testing.assert_allclose(centres, 0, atol=1e-4)


@pytest.mark.parametrize("side", [8, 32])
def test_dsa_shift_is_whole_pixels_with_zeros_coming_in(side):
    image = noise(side, side, 3)
    shifted = many(augmentation.dsa_shift, image)
    most = side // 8
    padded = np.pad(image, ((most, most), (most, most), (0, 0)))
    seen = set()
    for result in shifted:
        matches = [
            (row, column)
            for row in range(2 * most + 1)
            for column in range(2 * most + 1)
            if np.array_equal(result, padded[row : row + side, column : column + side])
        ]
        assert len(matches) == 1
        seen.update(matches)
    assert {row for row, _ in seen} == {column for _, column in seen} == set(range(2 * most + 1))


@pytest.mark.parametrize("fraction, side, square", [(1 / 4, 32, 8), (1 / 2, 32, 16), (1 / 2, 8, 4), (1 / 4, 28, 7)])
def test_cutout_zeroes_one_square_that_may_cross_the_border(fraction, side, square):
    image = np.abs(noise(side, side, 2)) + 1
    cut = many(functools.partial(augmentation.random_cutout, fraction=fraction), image)
    heights, widths = [], []
    for result in cut:
        hole = (result == 0).all(-1)
        np.testing.assert_array_equal(result[~hole], image[~hole])
        rows, columns = hole.any(1), hole.any(0)
        np.testing.assert_array_equal(hole, np.outer(rows, columns))
        for side_of_hole in (np.flatnonzero(rows), np.flatnonzero(columns)):
            assert np.all(np.diff(side_of_hole) == 1)
        heights.append(rows.sum())
        widths.append(columns.sum())
    whole = np.logical_and(np.array(heights) == square, np.array(widths) == square)
    assert max(heights) == max(widths) == square and whole.mean() > 0.15
    assert min(heights) == min(widths) == (square + 1) // 2


def test_cutout_of_given_corner():
    hole = np.asarray(augmentation.cutout(jnp.ones((6, 6, 1)), jnp.array([-1, 4]), 3))[..., 0] == 0
    expected = np.zeros((6, 6), bool)
    expected[:2, 4:] = True
    np.testing.assert_array_equal(hole, expected)


def test_none_is_the_identity_and_an_unknown_policy_is_refused():
    images = noise(3, 8, 8, 3)
    np.testing.assert_array_equal(augmentation.augment(KEY, images, "none"), images)
    with pytest.raises(ValueError, match="mixup"):
        augmentation.augment(KEY, images, "mixup")


@pytest.mark.parametrize(
    ("policy", "kinds"),
    [
        ("frepo", ["random_flip", "frepo_colour", "frepo_zoom", "random_rotation", "frepo_translation", 1 / 4]),
        ("dsa", ["random_flip", "dsa_colour", "dsa_scale", "random_rotation", "dsa_shift", 1 / 2]),
    ],
)
def test_a_policy_has_the_kinds_of_its_code(policy, kinds):
    """A cut-out by the fraction of the side that it takes."""
    found = [
        kind.keywords["fraction"] if isinstance(kind, functools.partial) else kind.__name__
        for kind in augmentation._KINDS[policy]
    ]
    assert found == kinds


def test_kinds_are_drawn_evenly(monkeypatch):
    kinds = tuple(functools.partial(lambda key, image, value: image + value, value=value) for value in range(6))
    monkeypatch.setitem(augmentation._KINDS, "numbers", kinds)
    draw = jax.vmap(lambda key: augmentation.augment(key, jnp.zeros((1, 1, 1, 1)), "numbers"))
    counts = np.bincount(np.ravel(draw(jax.random.split(KEY, 1200))).astype(int), minlength=6)
    assert len(counts) == 6
    # Within four standard deviations of 200.
    assert np.abs(counts - 200).max() < 4 * np.sqrt(1200 * 5 / 36)


@pytest.mark.parametrize("policy", ["frepo", "dsa"])
class TestAugment:
    @staticmethod
    def batches(policy, images, count):
        return np.stack([augmentation.augment(key, images, policy) for key in jax.random.split(KEY, count)])

    def test_the_key_determines_the_result(self, policy):
        images = noise(4, 8, 8, 3)
        first = self.batches(policy, images, 12)
        np.testing.assert_array_equal(first, self.batches(policy, images, 12))
        assert len({batch.tobytes() for batch in first}) > 8

    def test_one_kind_a_batch_with_parameters_of_its_own_for_each_image(self, policy):
        # Every image is the same, and tells the kinds apart: only colour leaves no pixel as it was, only a flip or a
        # cut-out leaves most as they were.
        image = np.abs(noise(16, 16, 3)) + 1
        results = self.batches(policy, np.stack([image] * 24), 60)
        kinds = [{self.kind(image, result) for result in batch} - {"unchanged"} for batch in results]
        assert all(len(kind) <= 1 for kind in kinds)
        assert set().union(*kinds) == {"flip", "colour", "cutout", "affine"}
        unmirrored = [augmentation.augment(key, np.stack([image] * 4), policy, mirror=False)
                      for key in jax.random.split(KEY, 60)]  # fmt: skip
        kinds_left = {self.kind(image, np.asarray(result)) for batch in unmirrored for result in batch}
        assert kinds_left - {"unchanged"} == {"colour", "cutout", "affine"}
        for batch, kind in zip(results, kinds, strict=True):
            different = len({result.tobytes() for result in batch})
            assert different == 2 if kind == {"flip"} else different >= 8

    @staticmethod
    def kind(image, result):
        if np.array_equal(result, image):
            return "unchanged"
        if np.array_equal(result, image[:, ::-1]):
            return "flip"
        hole = (result == 0).all(-1)
        if np.array_equal(result[~hole], image[~hole]):
            return "cutout"
        design = np.stack([image.ravel(), np.repeat(image.mean(-1).ravel(), 3), np.ones(image.size)], 1)
        residual = result.ravel() - design @ np.linalg.lstsq(design, result.ravel(), rcond=None)[0]
        return "colour" if np.abs(residual).max() < 1e-4 else "affine"

    def test_shapes_and_grey(self, policy):
        shape = {"frepo": (4, 8, 8, 1), "dsa": (2, 64, 64, 3)}[policy]
        results = self.batches(policy, noise(*shape), 8)
        assert results.shape == (8, *shape) and results.dtype == np.float32
        assert np.isfinite(results).all()


def test_under_scan_and_vmap_it_is_the_same():
    images = noise(4, 8, 8, 3)
    keys = jax.random.split(KEY, 12)
    pair = jax.vmap(lambda key: augmentation.augment(key, images, "dsa"))
    scanned = jax.jit(lambda keys: jax.lax.scan(lambda carry, two: (carry, pair(two)), 0, keys)[1])
    found = scanned(keys.reshape(6, 2)).reshape(12, 4, 8, 8, 3)
    np.testing.assert_allclose(found, TestAugment.batches("dsa", images, 12), atol=1e-5)


@pytest.mark.whole
def test_siamese_augmentation_does_the_same_to_all_images_of_two_batches():
    """Real and synthetic images of a class, of which there are different numbers."""
    batch = jnp.asarray(np.random.default_rng(0).normal(size=(5, 8, 8, 3)), jnp.float32)
    changed, alike = 0, jax.jit(functools.partial(augmentation.augment, policy="dsa", siamese=True))
    for seed in range(12):
        key = jax.random.key(seed)
        many, few = alike(key, batch), alike(key, batch[3:4])
        np.testing.assert_allclose(few[0], many[3], atol=1e-6)
        repeated = alike(key, jnp.broadcast_to(batch[3], batch.shape))
        np.testing.assert_allclose(repeated, jnp.broadcast_to(repeated[0], batch.shape), atol=1e-6)
        changed += bool(np.abs(many - batch).max() > 1e-3)
    assert changed >= 8


@pytest.mark.whole
def test_each_class_has_a_siamese_augmentation_of_its_own():
    image = jnp.asarray(np.random.default_rng(1).normal(size=(8, 8, 3)), jnp.float32)
    images = jnp.broadcast_to(image, (6, 2, 8, 8, 3))
    seen = np.asarray(augmentation.augment_by_class(KEY, images, "dsa"))
    np.testing.assert_allclose(seen[:, 0], seen[:, 1], atol=1e-6)
    assert len({one.tobytes() for one in seen[:, 0].round(4)}) >= 4
    np.testing.assert_array_equal(augmentation.augment_by_class(KEY, images, "none"), images)


@pytest.mark.parametrize(
    "policy, groups",
    [
        ("idc_matching", [["dsa_colour"], ["dsa_shift"], [1 / 2]]),
        ("idc_training", [["dsa_colour"], ["dsa_shift"]]),
        ("idc_scoring", [["random_flip"], ["dsa_colour"], ["dsa_shift", "dsa_scale", "random_rotation"]]),
    ],
)
def test_idcs_policies_do_one_of_each_group(policy, groups):
    found = [
        [kind.keywords["fraction"] if isinstance(kind, functools.partial) else kind.__name__ for kind in group]
        for group in augmentation._SEQUENCES[policy]
    ]
    assert found == groups


def test_kinds_of_a_sequence_are_done_in_turn(monkeypatch):
    def scale(key, image):
        return 10 * image

    def one(key, image):
        return image + 1

    def two(key, image):
        return image + 2

    monkeypatch.setitem(augmentation._SEQUENCES, "numbers", ((one,), (scale,), (one, two), (augmentation.random_flip,)))
    numbers = {
        float(augmentation.augment(jax.random.key(seed), jnp.zeros((1, 1, 1, 1)), "numbers", mirror=False).squeeze())
        for seed in range(20)
    }
    assert numbers == {11.0, 12.0}


@pytest.mark.whole
def test_cutmix_shows_a_rectangle_of_partners_as_large_as_it_says():
    values = jnp.arange(1.0, 6.0)
    images = jnp.broadcast_to(values[:, None, None, None], (5, 8, 6, 1))
    mix = jax.jit(functools.partial(augmentation.cutmix, probability=1.0))
    shares, corners = [], set()
    for seed in range(60):
        mixed, partners, share = map(np.asarray, mix(jax.random.key(seed), images))
        assert sorted(partners) == list(range(5))
        shares.append(float(share))
        moved = next((i for i in range(5) if partners[i] != i), None)
        inside = mixed[moved, ..., 0] != images[moved, ..., 0]
        rows, columns = inside.any(1), inside.any(0)
        np.testing.assert_array_equal(inside, rows[:, None] & columns)
        # Without gaps, and the same for all images.
        assert all(np.abs(np.diff(np.pad(line, 1).astype(int))).sum() <= 2 for line in (rows, columns))
        np.testing.assert_array_equal(mixed[..., 0], np.where(inside, values[partners][:, None, None], images[..., 0]))
        np.testing.assert_allclose(share, 1 - inside.mean(), atol=1e-6)
        corners.add((int(rows.argmax()), int(columns.argmax())))
    assert len(corners) > 10
    # Of sides of almost 8 and 6 pixels halves of 3 and 2.
    assert min(shares) == 0.5 and max(shares) == 1.0


@pytest.mark.whole
def test_cutmix_mixes_as_often_as_it_is_asked_to():
    images = jnp.arange(4.0)[:, None, None, None] * jnp.ones((4, 16, 16, 1))
    shares = jax.vmap(lambda key: augmentation.cutmix(key, images, 0.5).share)(jax.random.split(KEY, 400))
    never = augmentation.cutmix(KEY, images, 0.0)
    np.testing.assert_array_equal(never.images, images)
    assert never.share == 1
    # Rectangles of no pixel add to the half that are none: those whose side is under 2 of 16 pixels, one in 64.
    assert abs(np.mean(shares == 1) - 0.5 - 0.5 / 64) < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_has_the_rectangle_of_idcs_code(seed, monkeypatch):
    """For the same area and centre: half a side is a whole number of pixels, cut at the border."""
    rng = np.random.default_rng(seed)
    area, centres = rng.uniform(), rng.integers(0, [12, 10])
    monkeypatch.setattr(jax.random, "uniform", lambda key: jnp.float32(area))
    drawn = iter(centres)
    monkeypatch.setattr(jax.random, "randint", lambda *_: next(drawn))
    images = jnp.stack([jnp.zeros((12, 10, 1)), jnp.ones((12, 10, 1))])
    found = augmentation.cutmix(jax.random.key(seed), images, 1.0)
    half = (np.array([12, 10]) * np.sqrt(area)).astype(int) // 2
    low, high = np.clip(centres - half, 0, [12, 10]), np.clip(centres + half, 0, [12, 10])
    np.testing.assert_allclose(found.share, 1 - np.prod(high - low) / 120, atol=1e-6)
    wanted = np.array(images[0])
    wanted[low[0] : high[0], low[1] : high[1]] = found.partners[0]
    np.testing.assert_array_equal(found.images[0], wanted)
