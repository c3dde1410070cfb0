"""The ridge head against float64 NumPy, finite differences, and Proposition 1."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from fsdd.core import cholesky_qr, compilation, krr, losses

ridge_head, predict, factor = map(compilation.jit, (krr.ridge_head, krr.predict, cholesky_qr.factor))


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def _textbook(features, labels, ridge=krr.RIDGE):
    """Eq. 2 as it is written, in NumPy."""
    gram = features @ features.T
    return features.T @ np.linalg.solve(gram + ridge * np.trace(gram) / len(gram) * np.eye(len(gram)), labels)


# Each shape is compiled: more rows than features, fewer, as many, and one of each.
@settings(max_examples=30)
@given(st.sampled_from([(1, 1, 1), (3, 20, 2), (12, 5, 3), (7, 7, 1)]), st.integers(0, 1000))
def test_head_is_the_textbook_formula(shape, seed):
    n, d, c = shape
    rng = np.random.default_rng(seed)
    features, labels = rng.normal(size=(n, d)), rng.normal(size=(n, c))
    with jax.enable_x64(True):
        found = ridge_head(jnp.asarray(features), jnp.asarray(labels), 1e-3)
        assert found.dtype == jnp.float64
    np.testing.assert_allclose(found, _textbook(features, labels, 1e-3), rtol=1e-8, atol=1e-10)


def test_gradient_against_finite_differences(float64):
    rng = np.random.default_rng(0)
    features, labels, target = (rng.normal(size=shape) for shape in ((5, 9), (5, 3), (9, 3)))

    def squared(features, labels):
        return jnp.sum(jnp.square(krr.ridge_head(features, labels, 1e-2) - target))

    loss, gradient = compilation.jit(squared), compilation.jit(jax.grad(squared, argnums=(0, 1)))
    gradients = jax.device_get(gradient(features, labels))
    for argument, gradient in enumerate(gradients):
        for index in np.ndindex(gradient.shape):
            step = np.zeros(gradient.shape)
            step[index] = 1e-6
            up, down = [[features, labels] for _ in range(2)]
            up[argument] = up[argument] + step
            down[argument] = down[argument] - step
            numeric = (loss(*up) - loss(*down)) / 2e-6
            assert abs(gradient[index] - numeric) < 1e-6 * max(1, abs(numeric))


def test_head_maps_over_networks():
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(3, 4, 7)).astype(np.float32), rng.normal(size=(4, 2)).astype(np.float32)
    many = compilation.jit(jax.vmap(krr.ridge_head, (0, None)))(features, labels)
    for one, alone in zip(many, features, strict=True):
        np.testing.assert_allclose(one, ridge_head(alone, labels), rtol=1e-5, atol=1e-6)


def test_prediction_interpolates_its_own_set():
    """With more features than rows and hardly any ridge, the head reproduces the labels that it was fitted on."""
    rng = np.random.default_rng(2)
    features, labels = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((6, 40), (6, 3)))
    np.testing.assert_allclose(predict(features, features, labels), labels, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_prediction_ignores_the_scale_of_features(scale):
    """The ridge is relative to the Gram matrix's trace."""
    rng = np.random.default_rng(3)
    features_s, features_t, labels = (
        jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((6, 10), (4, 10), (6, 3))
    )
    scaled = predict(scale * features_t, scale * features_s, labels)
    np.testing.assert_allclose(scaled, predict(features_t, features_s, labels), rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore:An ill-conditioned matrix")
def test_nearly_collinear_features_in_float32():
    """Features that differ by a thousandth of their common part: where a Gram matrix in float32 loses most digits."""
    rng = np.random.default_rng(4)
    features = rng.normal(size=(1, 500)) + 1e-3 * rng.normal(size=(20, 500))
    labels = rng.normal(size=(20, 3))
    wanted = features @ _textbook(features, labels)
    single_f, single_y = jnp.asarray(features, jnp.float32), jnp.asarray(labels, jnp.float32)
    found = predict(single_f, single_f, single_y)
    gram = np.asarray(features, np.float32) @ np.asarray(features, np.float32).T
    ridge = np.float32(krr.RIDGE) * np.trace(gram) / 20 * np.eye(20, dtype=np.float32)
    try:
        from_gram = gram @ scipy.linalg.solve(gram + ridge, np.asarray(labels, np.float32), assume_a="pos")
    except np.linalg.LinAlgError:
        from_gram = np.full_like(wanted, np.nan)
    error, gram_error = (np.linalg.norm(value - wanted) / np.linalg.norm(wanted) for value in (found, from_gram))
    assert error < 1e-3
    # Where rounding left the Gram matrix with a negative eigenvalue, nothing at all comes of it.
    assert error < np.nan_to_num(gram_error, nan=np.inf) / 10


@pytest.mark.parametrize("apart", [1.0, 1e-3, 1e-5])
@pytest.mark.parametrize("n", [3, 300])
def test_factors_are_as_good_as_those_of_householder(n, apart):
    """By what makes a factorisation: it multiplies out, and Q is orthogonal; also where rows are all but one."""
    rng = np.random.default_rng(6)
    features = (rng.normal(size=(1, 1200)) + apart * rng.normal(size=(n, 1200))).astype(np.float32)
    relative = krr.RIDGE / n
    q1, lower = factor(features, relative)
    scale = np.sqrt(relative * np.sum(np.square(features)))
    wide = np.concatenate([features, scale * np.eye(n)], axis=1, dtype=np.float32)
    q_theirs, r_theirs = np.linalg.qr(wide.T)

    def errors(q1, lower):
        q1, lower = np.float64(q1), np.float64(lower)
        # Q2, which is not returned, follows from R^T Q2^T = sqrt(lambda) I.
        q2 = scale * np.linalg.inv(lower)
        off = np.linalg.norm(lower @ q1 - features) / np.linalg.norm(features)
        return off, np.linalg.norm(q1 @ q1.T + q2 @ q2.T - np.eye(n)) / n

    ours, theirs = errors(q1, lower), errors(q_theirs[:1200].T, r_theirs.T)
    assert np.array_equal(lower, np.tril(lower))
    for own, other in zip(ours, theirs, strict=True):
        assert own < max(4 * other, 1e-6)


@pytest.mark.parametrize("way", ["float64_head", "cholesky_qr"])
def test_heads_and_gradients_of_nearly_collinear_features_in_float32(way):
    """Against the closed form in float64, of the same float32 features; their Gram matrix has condition number 1e6."""
    head, tolerance = {"float64_head": (krr.float64_head, 1e-6), "cholesky_qr": (cholesky_qr.head, 1e-3)}[way]
    rng = np.random.default_rng(7)
    features = (rng.normal(size=(1, 500)) + 1e-2 * rng.normal(size=(20, 500))).astype(np.float32)
    labels, bar = rng.normal(size=(20, 3)).astype(np.float32), rng.normal(size=(3, 500)).astype(np.float32)
    relative = np.float32(krr.RIDGE / 20)

    def there_and_back(features, labels, bar):
        found, pull_back = jax.vjp(lambda *both: head(*both, relative), features, labels)
        return found, *pull_back(bar)

    found = compilation.jit(there_and_back)(features, labels, bar)
    f, y, b = (np.float64(one) for one in (features, labels, bar))
    gram = f @ f.T
    inverse = np.linalg.inv(gram + relative * np.trace(gram) * np.eye(20))
    alpha, g = inverse @ y, inverse @ f @ b.T
    moved = alpha @ b - (alpha @ g.T + g @ alpha.T) @ f - 2 * relative * np.sum(g * alpha) * f
    for ours, wanted in zip(found, (alpha.T @ f, moved, g), strict=True):
        assert ours.dtype == np.float32
        assert np.linalg.norm(ours - wanted) < tolerance * np.linalg.norm(wanted)


def test_features_that_are_all_zero_have_no_head():
    assert np.isnan(ridge_head(jnp.zeros((3, 20)), jnp.ones((3, 2)))).all()


def test_proposition_1(float64):
    """With linear networks, the set translated into another space is the same whatever the target set was.

    S fitted without error in f_theta gives theta w = pinv(X_t) Y_t (Eq. 7), so pinv(theta*) theta w is the head of the
    distillation space theta* (Eq. 8). The translation below uses S, theta and theta* only, never X_t or Y_t.
    """
    rng = np.random.default_rng(5)
    d, wide, wider, classes = 4, 6, 8, 3
    theta, theta_star = rng.normal(size=(d, wide)), rng.normal(size=(d, wider))
    x_s, y_s = rng.normal(size=(d, d)), rng.normal(size=(d, classes))
    w = np.asarray(ridge_head(x_s @ theta, y_s, 1e-14))

    def translate(images, head):
        """The same images, relabelled by what the desired space's head says of them."""
        return images, images @ theta_star @ np.linalg.pinv(theta_star) @ theta @ head

    translated = translate(x_s, w)
    star = np.asarray(ridge_head(translated[0] @ theta_star, translated[1], 1e-14))
    for count in (10, 25):
        x_t = rng.normal(size=(count, d))
        y_t = x_t @ theta @ w
        # Both spaces fit both target sets without error (Eqs. 5 and 6), with one translated set.
        assert np.abs(x_t @ theta @ w - y_t).max() < 1e-6
        assert np.abs(x_t @ theta_star @ star - y_t).max() < 1e-6
        # And the head computed from each target set itself, the proof's (X_t theta*)^+ Y_t, is that of the translation.
        np.testing.assert_allclose(np.linalg.pinv(x_t @ theta_star) @ y_t, star, rtol=1e-5, atol=1e-6)


def test_losses_by_hand():
    labels = jnp.array([[0.9, 0.4, 0.1], [0.2, 0.5, 0.1]])
    # Leads of 0.5 and 0.3; the first is capped at 1/3.
    assert abs(losses.label_margin(labels) + (1 / 3 + 0.3) / 2) < 1e-6
    assert abs(losses.squared_error(labels, jnp.zeros((2, 3))) - (0.98 + 0.30) / 2) < 1e-6
    assert losses.accuracy(labels, jnp.array([[1.0, 0, 0], [1, 0, 0]])) == 0.5
