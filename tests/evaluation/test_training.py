"""Training and scoring networks on a synthetic set."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsdd.core import compilation, losses
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.errors import UserError
from fsdd.evaluation import training, training_recipes
from fsdd.evaluation.training_recipes import Recipe
from fsdd.io.progress import compile_clock
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet

NETWORK = ConvNet(3, width=4, depth=2)
PLAIN = Recipe("adam", 1e-2, 0.0, "warmup_cosine", "none", False, 500, 20)


def _synthetic(seed):
    images = np.random.default_rng(seed).normal(size=(6, 8, 8, 1))
    labels = np.eye(3)[np.arange(6) % 3] - 1 / 3
    return SyntheticSet(jnp.asarray(images, jnp.float32), jnp.asarray(labels, jnp.float32))


@pytest.fixture(scope="module")
def synthetic():
    return _synthetic(0)


def test_steps_are_frepos_and_interpolated():
    assert [training_recipes.default_length(n) for n in (1, 10, 100, 400, 500, 1_000, 2_000, 5_000, 50_000)] == [
        1_000, 1_000, 2_000, 5_000, 5_000, 10_000, 40_000, 40_000, 40_000,
    ]  # fmt: skip
    steps = [training_recipes.default_length(n) for n in range(10, 6_000, 10)]
    assert steps == sorted(steps)
    assert 1_000 < training_recipes.default_length(30) < 2_000


def test_a_length_in_epochs_is_one_more_of_as_many_batches_as_the_set_fills():
    """As counted in FRePo's PyTorch code: `range(Epoch + 1)` over a loader of batches of min(n, 500)."""
    epochs = {10: 1_001, 100: 2_001, 500: 5_001, 1_000: 20_002, 5_000: 400_010}
    assert {n: training_recipes.steps_of(Recipe(length="epochs"), n) for n in epochs} == epochs
    steps = {10: 1_000, 100: 2_000, 500: 5_000, 1_000: 10_000, 5_000: 40_000}
    assert {n: training_recipes.steps_of(Recipe(length="steps"), n) for n in steps} == steps
    for length in training_recipes.LENGTHS:
        assert training_recipes.steps_of(Recipe(length=length, steps=7), 1_000) == 7
    # The last batch of an epoch may be a part of one.
    assert training_recipes.steps_of(Recipe(length="epochs", batch=64), 100) == 2 * 2_001


def test_the_jax_schedule_warms_up_and_decays():
    schedule = training_recipes.rate_schedule(Recipe(rate=3e-4, schedule="warmup_cosine"), 1_000)
    rates = np.asarray(schedule(np.arange(1_001)))
    assert rates[0] == 0
    assert rates.argmax() == 500
    assert rates[500] == pytest.approx(3e-4)
    assert rates[250] == pytest.approx(1.5e-4)
    assert rates[1_000] == pytest.approx(3e-6, rel=1e-3)


def test_sgd_is_pytorchs_and_is_made_anew_where_the_rate_drops():
    """The loop of DC's code, written out, for three epochs of two steps and the one that it adds."""
    recipe = Recipe("sgd", 0.1, 0.05, "drop", "none", False, batch=4, epochs=4)
    assert (training_recipes.epoch_steps(recipe, 8), training_recipes.steps_of(recipe, 8)) == (2, 8)
    optimiser = training_recipes.build_optimiser(recipe, 8, epoch=2)
    gradients = np.random.default_rng(0).normal(size=(8, 3))
    found, moments = jnp.zeros(3), optimiser.init(jnp.zeros(3))
    wanted, rate, velocity = np.zeros(3), 0.1, np.zeros(3)
    for index, gradient in enumerate(gradients):
        updates, moments = optimiser.update(jnp.asarray(gradient, jnp.float32), moments, found)
        found = optax.apply_updates(found, updates)
        velocity = 0.9 * velocity + gradient + 0.05 * wanted
        wanted = wanted - rate * velocity
        if index == 2 * (3 // 2 + 2) - 1:  # after the epoch 3 // 2 + 1, counted from 0
            rate, velocity = 0.01, np.zeros(3)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, err_msg=f"step {index}")
    assert training_recipes.drop_step(301, 1) == 152


def test_the_rate_falls_twice_as_in_idcs_code():
    """PyTorch's MultiStepLR with milestones in epochs, here of three steps."""
    recipe = Recipe("sgd", 0.01, 5e-4, "two_drops", epochs=10, batch=64, cutmix=0.5)
    assert training_recipes.steps_of(recipe, 150) == 30
    rates = np.asarray(training_recipes.rate_schedule(recipe, 30, 3)(np.arange(30))).reshape(10, 3)
    wanted = [0.01 * 0.2 ** sum(epoch >= milestone for milestone in (2 * 10 // 3, 5 * 10 // 6)) for epoch in range(10)]
    np.testing.assert_allclose(rates, np.repeat(wanted, 3).reshape(10, 3), rtol=1e-6)


def test_labels_of_mixed_images_count_by_their_shares():
    rng = np.random.default_rng(5)
    logits, labels, partners = rng.normal(size=(4, 3)), np.eye(3)[[0, 1, 2, 1]] - 1 / 3, np.array([2, 0, 3, 1])
    found = losses.mixed(losses.cross_entropy, partners, 0.3)(jnp.asarray(logits), jnp.asarray(labels))
    mixed = 0.3 * np.eye(3)[[0, 1, 2, 1]] + 0.7 * np.eye(3)[[2, 0, 1, 1]]
    log_shares = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    np.testing.assert_allclose(found, -np.mean(np.sum(mixed * log_shares, 1)), rtol=1e-5)


@pytest.mark.whole
def test_training_mixes_where_a_recipe_says_so(synthetic):
    key = jax.random.key(0)[None]
    recipes = [dataclasses.replace(PLAIN, steps=3, loss="cross_entropy", cutmix=share) for share in (0.0, 1.0)]
    plain, mixed = (jax.tree.leaves(training.variables(training.train(NETWORK, recipe, synthetic, key)))
                    for recipe in recipes)  # fmt: skip
    assert max(np.abs(one - other).max() for one, other in zip(plain, mixed, strict=True)) > 1e-5


def _squared(logits, labels):
    return 0.5 * jnp.mean(jnp.sum((logits - labels) ** 2, 1))


def _entropy(logits, labels):
    log_shares = logits - jnp.log(jnp.sum(jnp.exp(logits), 1, keepdims=True))
    return -jnp.mean(jnp.sum(log_shares * (labels > 0), 1))


@pytest.mark.parametrize("name, loss_of", [("squared", _squared), ("cross_entropy", _entropy)])
def test_training_is_adam_on_the_loss(synthetic, name, loss_of):
    """A loop written out with optax, on the same start."""
    recipe, key = dataclasses.replace(PLAIN, steps=5, loss=name), jax.random.key(3)
    schedule = training_recipes.rate_schedule(recipe, 5)
    optimiser = optax.adam(schedule)
    many = sampling.sampler(NETWORK, (8, 8, 1))(jax.random.fold_in(key, 0)[None])
    params = jax.tree.map(lambda leaf: leaf[0], many)["params"]
    moments = optimiser.init(params)

    def loss(params):
        return loss_of(NETWORK.apply({"params": params}, synthetic.images).logits, synthetic.labels)

    @compilation.jit
    def step(params, moments):
        updates, moments = optimiser.update(jax.grad(loss)(params), moments, params)
        return optax.apply_updates(params, updates), moments

    for _ in range(5):
        params, moments = step(params, moments)
    state = training.train(NETWORK, recipe, synthetic, key[None])
    found = training.variables(state)["params"]
    for one, wanted in zip(*map(jax.tree.leaves, (found, params)), strict=True):
        np.testing.assert_allclose(one[0], wanted, rtol=1e-4, atol=1e-6)


def _ridge_logits(variables, synthetic, images, ridge):
    """Of a ridge head on the images and their mirror images, in float64: w = F^T (F F^T + lambda I)^-1 Y."""
    both, labels = synthetic.mirrored().images, np.tile(synthetic.labels, (2, 1)).astype(np.float64)
    known, seen = (np.asarray(sampling.features(NETWORK, variables, one), np.float64) for one in (both, images))
    gram = known @ known.T
    gram += ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
    return seen @ known.T @ np.linalg.solve(gram, labels)


@pytest.mark.parametrize("ridge", [1e-3, 0.3])
def test_a_dense_layer_in_closed_form_is_the_ridge_head_in_a_network_that_nothing_else_moved(synthetic, ridge):
    recipe, keys = dataclasses.replace(PLAIN, fit="ridge", ridge=ridge), jax.random.split(jax.random.key(3), 2)
    assert training_recipes.steps_of(recipe, 6) == training_recipes.steps_of(recipe, 5_000) == 0
    many = training.variables(training.train(NETWORK, recipe, synthetic, keys))
    images = jnp.asarray(np.random.default_rng(5).normal(size=(40, 8, 8, 1)), jnp.float32)
    for index, key in enumerate(keys):
        found = jax.tree.map(lambda leaf, index=index: leaf[index], many)
        drawn = sampling.sample(NETWORK, jax.random.fold_in(key, 0), (8, 8, 1))
        for layer in ("Conv_0", "Conv_1"):
            # Drawn by a few operations each, which a compiler may join.
            kernels = (one["params"][layer]["kernel"] for one in (found, drawn))
            np.testing.assert_allclose(*kernels, rtol=5e-7, atol=5e-7)
        wanted = _ridge_logits(drawn, synthetic, images, ridge)
        logits = NETWORK.apply(found, images).logits
        np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    classes = np.argmax(wanted, -1)
    assert training.score(NETWORK, many, np.asarray(images), classes)[1] == 1.0


def test_a_network_may_begin_with_that_layer_and_then_train_whole(synthetic):
    recipe, key = dataclasses.replace(PLAIN, fit="ridge_then_train", steps=3), jax.random.key(3)[None]
    fresh = training.init(NETWORK, recipe, synthetic, key)
    fitted = training.train(NETWORK, dataclasses.replace(recipe, fit="ridge"), synthetic, key)
    for one, other in zip(*map(jax.tree.leaves, (fresh.moving, fitted.moving)), strict=True):
        np.testing.assert_array_equal(one, other)
    trained = training.train(NETWORK, recipe, synthetic, key)
    assert all((a != b).any() for a, b in zip(*map(jax.tree.leaves, (trained.moving, fitted.moving)), strict=True))


def test_without_mirror_images_a_ridge_head_sees_none(synthetic):
    key = jax.random.key(3)[None]
    both, one = (
        training.train(NETWORK, dataclasses.replace(PLAIN, fit="ridge", mirror=mirror), synthetic, key).moving
        for mirror in (True, False)
    )
    assert (both["Dense_0"]["kernel"] != one["Dense_0"]["kernel"]).any()
    exact = NETWORK.apply(
        training.variables(
            jax.tree.map(
                lambda leaf: leaf[0],
                training.init(NETWORK, dataclasses.replace(PLAIN, fit="ridge", mirror=False), synthetic, key),
            )
        ),
        synthetic.images,
    ).logits
    # Six images in 16 features: the head passes through their labels.
    np.testing.assert_allclose(exact, synthetic.labels, atol=1e-3)


@pytest.mark.slow
def test_together_alone_scanned_or_resumed_it_is_the_same_network(synthetic):
    recipe, keys = dataclasses.replace(PLAIN, policy="dsa"), jax.random.split(jax.random.key(0), 2)
    both = training.variables(training.train(NETWORK, recipe, synthetic, keys))
    alone = training.variables(training.train(NETWORK, recipe, synthetic, keys[1:]))
    scanned = training.variables(training.train(NETWORK, recipe, synthetic, keys[1:], dispatch=10))
    for together, one, many in zip(*map(jax.tree.leaves, (both, alone, scanned)), strict=True):
        np.testing.assert_allclose(together[1], one[0], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(many, one, rtol=1e-3, atol=1e-5)
    fresh = training.init(NETWORK, recipe, synthetic, keys[1:])
    seventh = next(s for done, s, _ in training.run(NETWORK, recipe, synthetic, keys[1:], fresh) if done == 7)
    *_, (_, state, _) = training.run(NETWORK, recipe, synthetic, keys[1:], seventh, start=7)
    for resumed, one in zip(*map(jax.tree.leaves, (training.variables(state), alone)), strict=True):
        np.testing.assert_array_equal(resumed, one)


def test_a_large_set_is_trained_on_in_batches(synthetic):
    recipe = dataclasses.replace(PLAIN, batch=2)
    state = training.train(NETWORK, recipe, synthetic, jax.random.key(0)[None])
    whole = training.train(NETWORK, PLAIN, synthetic, jax.random.key(0)[None])
    batched, at_once = (jax.tree.leaves(training.variables(one))[0] for one in (state, whole))
    assert np.isfinite(batched).all()
    assert (batched != at_once).any()


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_norms_train(synthetic, norm):
    network = ConvNet(3, width=4, depth=2, norm=norm)
    state = training.train(network, PLAIN, synthetic, jax.random.key(0)[None])
    images, classes = np.asarray(synthetic.images), np.arange(6) % 3
    assert training.score(network, training.variables(state), images, classes)[0] > 0.5


@pytest.mark.parametrize("chunk", [1, 4, 7, 100])
def test_score_counts_right_answers(synthetic, chunk):
    variables = sampling.sampler(NETWORK, (8, 8, 1))(jax.random.split(jax.random.key(0), 2))
    images = np.random.default_rng(1).normal(size=(7, 8, 8, 1)).astype(np.float32)
    classes = np.arange(7) % 3
    logits = compilation.jit(jax.vmap(NETWORK.apply, (0, None)))(variables, images).logits
    wanted = np.mean(np.argmax(logits, -1) == classes, axis=1)
    told = []
    found = training.score(NETWORK, variables, images, classes, chunk=chunk, watch=told.append)
    np.testing.assert_allclose(found, wanted)
    assert told == [min(chunk, 7 - at) for at in range(0, 7, chunk)]


def test_a_network_that_gives_no_finite_answer_is_not_scored(synthetic):
    """The largest of logits that are all NaN is the first, which would be right for every image of the first class."""
    images, classes = np.ones((3, 8, 8, 1), np.float32), np.zeros(3, int)
    sampled = sampling.sampler(NETWORK, (8, 8, 1))(jax.random.split(jax.random.key(0), 2))
    training.score(NETWORK, sampled, images, classes)
    broken = jax.tree.map(lambda leaf: leaf.at[1].set(jnp.nan), sampled)
    with pytest.raises(UserError, match=r"no finite answer for 3 of 3 images"):
        training.score(NETWORK, broken, images, classes)
    images[1] = np.inf
    with pytest.raises(UserError, match=r"no finite answer for 1 of 3 images"):
        training.score(NETWORK, sampled, images, classes)
    # Images of zeros give features of zeros, on which no ridge head can be fitted.
    nothing = synthetic.replace(images=jnp.zeros_like(synthetic.images))
    state = training.train(NETWORK, dataclasses.replace(PLAIN, fit="ridge"), nothing, jax.random.key(0)[None])
    with pytest.raises(UserError, match=r"no finite answer"):
        training.score(NETWORK, training.variables(state), np.ones((3, 8, 8, 1), np.float32), classes)


def test_a_rare_class_counts_as_much_as_a_frequent_one_in_balanced_accuracy():
    classes = np.array([0] * 8 + [1] * 2)
    predictions = np.array([[0] * 10, [0] * 4 + [1] * 6])
    by_class = training.accuracy_by_class(predictions, classes, 3)
    np.testing.assert_array_equal(by_class[:, :2], [[1.0, 0.0], [0.5, 1.0]])
    assert np.isnan(by_class[:, 2]).all()


def test_networks_and_sets_of_one_size_share_their_programs():
    """Three networks trained and scored, each on two sets: compiled once for the network, recipe and size."""
    network, recipe = ConvNet(3, width=5, depth=2), dataclasses.replace(PLAIN, steps=4)
    test = np.random.default_rng(9).normal(size=(5, 8, 8, 1)).astype(np.float32)
    sets = [_synthetic(seed) for seed in (1, 2)]
    keys = [jax.random.key(seed)[None] for seed in range(3)]

    def compiled(synthetic, key):
        before = compile_clock.programs
        state = training.train(network, recipe, synthetic, key)
        training.score(network, training.variables(state), test, np.arange(5) % 3)
        return compile_clock.programs - before

    first, *others = [compiled(synthetic, key) for key in keys for synthetic in sets]
    # Drawing networks, a step, and classifying, besides what small things the first of all tests compiles.
    assert first >= 3
    assert others == [0] * 5
    # An equal network and recipe, made anew, are the same.
    network, recipe = ConvNet(3, width=5, depth=2), dataclasses.replace(recipe, rate=1e-2)
    assert compiled(sets[0], keys[0]) == 0
    # Another size is not.
    larger = SyntheticSet(jnp.tile(sets[0].images, (2, 1, 1, 1)), jnp.tile(sets[0].labels, (2, 1)))
    assert compiled(larger, keys[0]) >= 2
