"""Networks that serve a step together, over several devices: the same steps as on one, and resumed exactly."""

import functools
import multiprocessing
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsdd.core import descent
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.evaluation import training, training_recipes
from fsdd.methods import distillation, frepo, nfr, stream_driver, translation
from fsdd.methods.streams import Real, Stream
from fsdd.networks.convnet import ConvNet
from fsdd.networks.translator import Translator

NETWORK = ConvNet(3, width=4, depth=2, norm="batch")
OBJECTIVE = nfr.Objective(NETWORK, ridge=1e-2)
# Within one program, which draws the networks, and before it.
FRESH, KEPT = Stream(16, 1, 8, real_images=10, at_once=8), Stream(8, 4, 8, real_images=10, batch=5, at_once=8)


def _real():
    rng = np.random.default_rng(0)
    labels = np.eye(3, dtype=np.float32)[np.arange(30) % 3] - 1 / 3
    return Real(jnp.asarray(rng.normal(size=(30, 8, 8, 1)), jnp.float32), jnp.asarray(labels))


def _distil(stream, start=0, state=None, dispatch=1):
    """Images and labels after each dispatch, by the step that has been reached."""
    real = _real()
    optimiser = optax.sgd(0.1)
    step = functools.partial(distillation.step, objective=OBJECTIVE, optimiser=optimiser)
    begun = state or descent.init(SyntheticSet(real.images[:3], real.labels[:3]), optimiser)
    keys = tuple(jax.random.split(jax.random.key(0)))
    taken = stream_driver.run(stream, NETWORK, real, keys, step, begun, start=start, dispatch=dispatch)
    return {at: jax.device_get(state) for at, state, _ in taken}


def _translate(stream):
    real = _real()
    translator, optimiser = Translator(1, widths=(4,)), translation.build_optimiser(optax.sgd(0.1), optax.sgd(0.1))
    sources = (SyntheticSet(real.images[:3], real.labels[:3]),)
    variables = translation.fresh(translator, jax.random.key(1), (8, 8, 1))
    step = functools.partial(translation.step, translator=translator, objective=OBJECTIVE, optimiser=optimiser)
    keys, begun = tuple(jax.random.split(jax.random.key(0))), translation.init(variables, sources, optimiser)
    *_, (_, state, _) = stream_driver.run(stream, NETWORK, real, keys, step, begun, sources, dispatch=1)
    return jax.device_get(state)


def _pool():
    """FRePo, all of whose networks serve each step."""
    real, optimiser = _real(), optax.sgd(0.1)
    pool = frepo.Pool(size=8, updates=4, at_once=8)
    synthetic = SyntheticSet(real.images[:3], real.labels[:3])
    state = frepo.init(synthetic, optimiser, OBJECTIVE, pool, jax.random.key(0), (8, 8, 1))
    step = functools.partial(frepo.step, objective=OBJECTIVE, optimiser=optimiser, pool=pool, batch=10)
    loop = descent.Loop(lambda state, t, real, key: step(state, jax.random.fold_in(key, t), real))
    *_, (_, state, _) = loop.run(state, 6, real, jax.random.key(1))
    assert pool.replaced(6, state.rest.ages) >= 8
    return jax.tree.leaves(jax.device_get(state))


def _score():
    """Predictions of eight networks that are trained together."""
    real, keys = _real(), jax.random.split(jax.random.key(3), 8)
    recipe = training_recipes.Recipe(steps=3, rate=1e-2)
    state = training.train(NETWORK, recipe, SyntheticSet(real.images[:3], real.labels[:3]), keys)
    variables = jax.device_get(training.variables(state))
    found = training.classify(NETWORK, training.variables(state), real.images, chunk=15)
    alone = [training.classify(NETWORK, jax.tree.map(lambda leaf, at=at: leaf[at][None], variables), real.images)
             for at in (0, 7)]  # fmt: skip
    np.testing.assert_array_equal(found[[0, 7]], np.concatenate(alone))
    return jax.tree.leaves(variables)


def _follow(devices, results):
    assert jax.device_count() == devices
    for stream, dispatch in ((FRESH, 1), (KEPT, 2)):
        whole = _distil(stream, dispatch=dispatch)
        middle, end = sorted(whole)[0], stream.steps
        resumed = _distil(stream, middle, jax.tree.map(jnp.asarray, whole[middle]), dispatch)[end]
        jax.tree.map(np.testing.assert_array_equal, resumed, whole[end])
        results.append(jax.tree.leaves(whole[end]))
    results.append(jax.tree.leaves(_translate(FRESH)))
    results.append(_pool())
    results.append(_score())


@pytest.mark.slow  # processes with several devices
def test_devices_share_the_networks_of_a_step(monkeypatch):
    spawn, results = multiprocessing.get_context("spawn"), {}
    with spawn.Manager() as manager:
        for devices in (1, 2, 8):
            flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
            monkeypatch.setenv("XLA_FLAGS", flags.strip())
            found = manager.list()
            process = spawn.Process(target=_follow, args=(devices, found))
            process.start()
            process.join()
            assert process.exitcode == 0
            results[devices] = list(found)
    for devices in (2, 8):
        for found, wanted in zip(results[devices], results[1], strict=True):
            for ours, theirs in zip(found, wanted, strict=True):
                print(devices, np.abs(ours - theirs).max())
                # Gradients of a ridge of 1e-2 are good to about ten times float32's rounding.
                np.testing.assert_allclose(ours, theirs, atol=2e-6 * max(np.abs(theirs).max(), 1))
