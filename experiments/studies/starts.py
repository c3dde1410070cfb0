"""Which real images a set starts from: what that is worth, and what tells it before the end.

    python -m experiments.studies.starts --count 16 --data_dir ~/tensorflow_datasets

The default recipe at CIFAR-10, one image per class, from many starts, all in the very same networks: they are drawn,
and their real features computed, once. Each set is judged as it starts, after `1 Net` and refined, by ridge heads in
networks that nothing moved in, on training images; networks are trained on the refined one and score a tenth of the
training images, which nothing else sees. No test image is looked at. A start that is in results/starts.json is not run
again; the sets lie under `--root`.
"""

import argparse
import functools
import importlib
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from experiments import records
from experiments.studies import held_out, side_by_side
from fsdd import config as configs
from fsdd.assembly import environment, keys, scorers
from fsdd.core import descent
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.distilling import context as contexts
from fsdd.distilling import moves, starts
from fsdd.distilling.context import Context
from fsdd.distilling.stages import distill
from fsdd.evaluation import training
from fsdd.io import progress, provenance, synthetic_files, workdir
from fsdd.methods import distillation, streams

STAGES = ("start", "distill", "refine")
# `1 Net` of the recipe for translators, whose sets need few steps.
_FEW = {"distill.steps": 60, "distill.batch": 512, "distill.rate": 0.025}


class Mover:
    """A stage whose networks are drawn once, for whatever sets it is given."""

    def __init__(self, context: Context, stage: str, stream: streams.Stream, network_key: jax.Array):
        """Draws the networks of the stream's one group, and pushes their real images through them."""
        if stream.group != stream.networks:
            raise ValueError(f"{stage} has {stream.networks} networks in groups of {stream.group}; here all are one")
        self._optimiser, self._stream = moves.build_set_optimiser(context.config, stage), stream
        self._batch_key, self._name = jax.random.fold_in(context.key(stage), 1), stage
        network = context.objective.real_network
        self._group = streams.fill(stream, network, context.real, jax.random.fold_in(network_key, 0))
        step = functools.partial(distillation.step, objective=context.objective, optimiser=self._optimiser)
        self._loop = descent.Loop(lambda state, t, group, key: step(state, streams.draw(stream, group, key, t)))
        self._dispatch = context.config.compute.dispatch

    def __call__(self, before: SyntheticSet) -> SyntheticSet:
        """The set after the last step."""
        steps, done, last = self._stream.steps, 0, moves.begin_set(before, self._optimiser)
        taken = self._loop.run(last, steps, self._group, self._batch_key, dispatch=self._dispatch)
        with progress.bar(self._name, steps) as bar:
            for position, state, metrics in taken:
                jax.block_until_ready(metrics)
                bar.update(position - done)
                done, last = position, state
        return last.moving


def build_movers(context: Context) -> dict[str, Mover]:
    """The stages of the recipe: `1 Net`, and refinement."""
    config = context.config
    many, key = moves.build_stream(context, "refine"), jax.random.fold_in(context.key("refine"), 0)
    return {
        "distill": Mover(context, "distill", distill.build_stream(context), keys.fixed_network_key(config)),
        "refine": Mover(context, "refine", many, key),
    }


def build_context(arguments: argparse.Namespace) -> Context:
    """Data, whitening and objective of the default recipe, a tenth of the training images kept back."""
    config = importlib.import_module("configs.cifar10_ipc1").get_config()
    fields = {"validation_fraction": 0.1, "data_dir": arguments.data_dir} | _FEW
    if arguments.smoke:
        fields |= {"dataset": "digits", "network.width": 4, "refine.networks": 2, "evaluate.steps": 4}
    config.update_from_flattened_dict(fields)
    return contexts.prepare(configs.resolve(config), arguments.root)


def build_judge(context: Context, networks: int, images: int = 2000) -> held_out.Judge:
    """Ridge heads on random training images, in the networks of Theta as the context has them."""
    rows = np.random.default_rng(0).permutation(len(context.data.train_labels))[:images]
    real = streams.Real(context.real.images[rows], context.real.labels[rows])
    return held_out.Judge(context.objective, real, networks)


def score(context: Context, synthetic: SyntheticSet, seed: int, networks: int) -> list[float]:
    """Accuracies in percent, on the images kept back, of networks trained on a set."""
    network, recipe = scorers.build_scorer(context.config, context.data.num_classes)
    images, found = jnp.asarray(context.whitening.apply(context.data.test_images)), []
    for index in range(networks):
        key = keys.scoring_key(seed, index)[None]
        state = training.train(network, recipe, synthetic, key, context.config.compute.dispatch)
        right = training.score(network, training.variables(state), images, context.data.test_labels, chunk=500)
        found.append(round(100 * float(right[0]), 2))
    return found


def measure(context: Context, arguments: argparse.Namespace, done: set[int]) -> Iterator[dict[str, Any]]:
    """A row for each start that is not done."""
    judge = build_judge(context, 2 if arguments.smoke else 8)
    stages = build_movers(context)
    for seed in range(arguments.count):
        if seed in done:
            continue
        synthetic, row = starts.choose_start(side_by_side.reseed(context, seed), 1), {"seed": seed}
        for name in STAGES:
            synthetic = stages[name](synthetic) if name in stages else synthetic
            synthetic_files.write_set(arguments.root / "sets" / f"{seed}_{name}.npz", synthetic)
            row[name] = judge(synthetic)
            print(f"start {seed}, {name}: {row[name]}", flush=True)
        row["accuracies"] = score(context, synthetic, seed, arguments.networks)
        print(f"start {seed}: {row['accuracies']} %", flush=True)
        yield row


def correlations(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Spearman's rank correlation of each judgement with the mean accuracy after `refine`, and its p-value."""
    accuracy = [np.mean(row["accuracies"]) for row in rows]
    found = {}
    for stage in STAGES:
        for figure in ("nfr", "nfr_scaled", "accuracy"):
            tested = scipy.stats.spearmanr([row[stage][figure] for row in rows], accuracy)
            found[f"{stage} {figure}"] = [round(float(tested.statistic), 3), round(float(tested.pvalue), 4)]
    return found


def markdown() -> str:
    """How far starts spread, and what tells it."""
    found = records.load("starts")
    if not found:
        return ""
    rows, lines = found["rows"], []
    for stage in STAGES:
        ridge = np.array([row[stage]["accuracy"] for row in rows])
        told = [found["correlations"][f"{stage} {figure}"] for figure in ("nfr", "nfr_scaled", "accuracy")]
        lines.append([stage, f"{ridge.mean():.1f} ± {ridge.std(ddof=1):.1f}", *(f"{one[0]:+.2f}" for one in told)])
    accuracy = np.array([np.mean(row["accuracies"]) for row in rows])
    within = np.sqrt(np.mean([np.var(row["accuracies"], ddof=1) for row in rows]))
    head = ["set", "ridge accuracy (%)", *(f"rank correlation of {name}" for name in ("NFR", "scaled NFR", "accuracy"))]
    what = (
        f"{len(rows)} starts; networks trained on the refined sets score {accuracy.mean():.1f} ± "
        f"{accuracy.std(ddof=1):.1f} % over starts, and ± {within:.1f} over the networks of one; best "
        f"{accuracy.max():.1f}, worst {accuracy.min():.1f}; {found['device']}."
    )
    return f"{records.table(head, lines)}\n\n{what}"


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m experiments.studies.starts")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--networks", type=int, default=2, help="trained on each set")
    parser.add_argument("--data_dir")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs/starts"))
    parser.add_argument("--out", type=pathlib.Path, default=records.FOLDER / "starts.json")
    parser.add_argument("--smoke", action="store_true", help="narrow networks on digits, which say nothing")
    arguments = parser.parse_args()
    environment.prepare()
    found = records.read(arguments.out) or {"rows": []}
    rows = found["rows"]
    if len(rows) < arguments.count:
        context = build_context(arguments)
        for row in measure(context, arguments, {row["seed"] for row in rows}):
            rows.append(row)
            facts = {"correlations": correlations(rows) if len(rows) > 2 else {}, "networks": arguments.networks}
            workdir.write(arguments.out, {"rows": rows} | facts | provenance.summary())
    print(markdown())


if __name__ == "__main__":
    main()
