"""Ways of refining at CIFAR-10, one image per class: starts, rates, optimisers and uses, in the very same networks.

    python -m experiments.studies.recipes --rows base long --starts 5 --data_dir ~/tensorflow_datasets

The networks are drawn, and the features of their real images computed, once for all rows and starts. A tenth of the
training images is kept back, and nothing else sees it: on it a set is judged, as it starts, after `1 Net` and refined,
by ridge heads in networks that nothing moved in, which takes seconds. No test image is looked at. What is in
results/recipes.json is not run again; the sets lie under `--root`.
"""

import argparse
import dataclasses
import importlib
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.stats

from experiments import records
from experiments.studies import held_out, side_by_side
from fsdd import config as configs
from fsdd.assembly import environment, keys
from fsdd.core import compilation, descent, synthetic_set
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.distilling import context as contexts
from fsdd.distilling import moves, starts
from fsdd.distilling.context import Context
from fsdd.distilling.stages import distill
from fsdd.io import progress, provenance, synthetic_files, workdir
from fsdd.methods import distillation, optimisers, streams

NETWORKS = 125


@dataclasses.dataclass(frozen=True)
class Way:
    """How a set is made.

    Attributes:
        title: what the table says.
        one_net: steps of `1 Net`, by Adam on batches of 512; 0 is none.
        noise: whether it starts as standard normal noise instead of real images.
        optimiser: of refinement.
        rate: its learning rate, which falls to a tenth along a cosine.
        networks: how many it moves over, of `NETWORKS`.
        uses: how many steps each serves.
    """

    title: str
    one_net: int = 60
    noise: bool = False
    optimiser: str = "lamb"
    rate: float = 3e-3
    networks: int = NETWORKS
    uses: int = 8


WAYS = {
    "base": Way("`1 Net`, then 125 networks, 8 uses each"),
    "no_one_net": Way("without `1 Net`", one_net=0),
    "rate10": Way("rate 1e-2 instead of 3e-3", rate=1e-2),
    "noise": Way("from noise, without `1 Net`, rate 1e-2", one_net=0, noise=True, rate=1e-2),
    "adam": Way("Adam at 3e-2 instead of LAMB", optimiser="adam", rate=0.03),
    "uses16": Way("16 uses each, rate 5e-3", uses=16, rate=5e-3),
}


class Networks:
    """Networks that all rows share, with what of the real images passes through them."""

    def __init__(self, context: Context, refining: int = NETWORKS, judges: int = 5):
        """Draw them: those of refinement, the one of `1 Net`, and those that judge on the images kept back."""
        self._context, objective = context, context.objective
        labels = synthetic_set.centred_labels(context.data.test_labels, context.data.num_classes)
        kept_back = jnp.asarray(context.whitening.apply(context.data.test_images))
        self.judge = held_out.Judge(objective, streams.Real(kept_back, jnp.asarray(labels)), judges)
        many = streams.Stream(refining, 1, group=refining, real_images=1024)
        self._many = self._fill(many, jax.random.fold_in(context.key("refine"), 0))
        self._one = self._fill(distill.build_stream(context), keys.fixed_network_key(context.config))

    def _fill(self, stream: streams.Stream, key: jax.Array) -> streams.Group:
        network, real = self._context.objective.real_network, self._context.real
        return streams.fill(stream, network, real, jax.random.fold_in(key, 0))

    def distil(self, before: SyntheticSet, steps: int, key: jax.Array) -> SyntheticSet:
        """`1 Net`."""
        optimiser = optimisers.build("adam", optimisers.cosine(0.025, steps))
        return self._move(before, streams.Stream(1, steps, batch=512), self._one, optimiser, key)

    def refine(self, before: SyntheticSet, way: Way, key: jax.Array) -> SyntheticSet:
        """Refinement."""
        held = min(way.networks, len(self._many.labels))
        stream = streams.Stream(held, way.uses, group=held)
        optimiser = optimisers.build(way.optimiser, optimisers.cosine(way.rate, stream.steps))
        return self._move(before, stream, jax.tree.map(lambda leaf: leaf[:held], self._many), optimiser, key)

    def _move(
        self,
        before: SyntheticSet,
        stream: streams.Stream,
        group: streams.Group,
        optimiser: optax.GradientTransformation,
        key: jax.Array,
    ) -> SyntheticSet:
        step = compilation.bind(distillation.step, objective=self._context.objective, optimiser=optimiser)
        loop = descent.Loop(compilation.bind(_step, stream=stream, step=step))
        last, done, dispatch = moves.begin_set(before, optimiser), 0, self._context.config.compute.dispatch
        taken = loop.run(last, stream.steps, group, key, dispatch=dispatch)
        with progress.bar("steps", stream.steps) as bar:
            for position, state, metrics in taken:
                jax.block_until_ready(metrics)
                bar.update(position - done)
                last, done = state, position
        return last.moving


def _step(state, t, group, key, *, stream, step):
    return step(state, streams.draw(stream, group, key, t))


def build_context(arguments: argparse.Namespace) -> Context:
    """Data, whitening and objective of the default recipe, a tenth of the training images kept back."""
    config = importlib.import_module("configs.cifar10_ipc1").get_config()
    fields = {"validation_fraction": 0.1, "data_dir": arguments.data_dir, "distill.batch": 512}
    if arguments.smoke:
        fields |= {"dataset": "digits", "network.width": 4}
    config.update_from_flattened_dict(fields)
    return contexts.prepare(configs.resolve(config), arguments.root)


def measure(networks: Networks, context: Context, way: Way, seed: int) -> tuple[SyntheticSet, dict[str, Any]]:
    """The refined set, and what the judge says of it and of what it was before."""
    synthetic = starts.choose_start(side_by_side.reseed(context, seed), 1)
    if way.noise:
        synthetic = synthetic.replace(images=jax.random.normal(jax.random.key(seed), synthetic.images.shape))
    row = {"start": networks.judge(synthetic)}
    if way.one_net:
        synthetic = networks.distil(synthetic, way.one_net, jax.random.key(seed + 7))
        row["one_net"] = networks.judge(synthetic)
    synthetic = networks.refine(synthetic, way, jax.random.key(seed + 11))
    return synthetic, row | {"refined": networks.judge(synthetic)}


def markdown() -> str:
    """Accuracies by row, paired differences to the first, and what tells a good start."""
    found = records.load("recipes")
    if not found:
        return ""
    lines, base = [], {row["seed"]: row["refined"]["accuracy"] for row in found["rows"] if row["row"] == "base"}
    for name, way in WAYS.items():
        own = {row["seed"]: row["refined"]["accuracy"] for row in found["rows"] if row["row"] == name}
        if own:
            values, gains = list(own.values()), [own[seed] - base[seed] for seed in own if seed in base]
            spread = f"{np.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"
            lines.append([way.title, len(own), spread, "" if name == "base" else _paired(gains)])
    told = _correlations([row for row in found["rows"] if row["row"] == "base"])
    head = ["way", "starts", "ridge accuracy (%)", "against the first"]
    return "\n\n".join([records.table(head, lines), *told, f"{found['device']}."])


def _paired(gains: list[float]) -> str:
    """A mean and its standard error."""
    if len(gains) < 2:
        return f"{gains[0]:+.1f}" if gains else ""
    return f"{np.mean(gains):+.1f} ± {np.std(gains, ddof=1) / np.sqrt(len(gains)):.1f}"


def _correlations(rows: list[dict[str, Any]]) -> list[str]:
    """Whether what a set is before refinement tells what it will be: Spearman's rank correlation over starts."""
    if len(rows) < 5:
        return []
    last, parts = [row["refined"]["accuracy"] for row in rows], []
    for stage, name in (("start", "as it starts"), ("one_net", "after `1 Net`")):
        tested = scipy.stats.spearmanr([row[stage]["accuracy"] for row in rows], last)
        parts.append(f"{name} {tested.statistic:+.2f} (p = {tested.pvalue:.2f})")
    return [f"Rank correlation of a set's ridge accuracy with that of the refined one: {', '.join(parts)}."]


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m experiments.studies.recipes")
    parser.add_argument("--rows", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--data_dir")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs/recipes"))
    parser.add_argument("--out", type=pathlib.Path, default=records.FOLDER / "recipes.json")
    parser.add_argument("--smoke", action="store_true", help="few narrow networks on digits, which say nothing")
    arguments = parser.parse_args()
    environment.prepare()
    rows = (records.read(arguments.out) or {"rows": []})["rows"]
    wanted = [(name, seed) for seed in range(arguments.starts) for name in arguments.rows]
    missing = [pair for pair in wanted if not records.find(rows, row=pair[0], seed=pair[1])]
    if missing:
        context = build_context(arguments)
        networks = Networks(context, 2 if arguments.smoke else NETWORKS)
        for name, seed in missing:
            synthetic, row = measure(networks, context, WAYS[name], seed)
            synthetic_files.write_set(arguments.root / "sets" / f"{name}_{seed}.npz", synthetic)
            rows.append({"row": name, "seed": seed} | row)
            print(f"{name}, start {seed}: {row['refined']}", flush=True)
            workdir.write(arguments.out, {"rows": rows} | provenance.summary())
    print(markdown())


if __name__ == "__main__":
    main()
