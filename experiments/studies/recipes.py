"""Ways of refining at CIFAR-10, one image per class: starts, rates and uses, in the same networks.

    python -m experiments.studies.recipes --rows base rate10 --starts 5 --data_dir ~/tensorflow_datasets

The networks are drawn, and the features of their real images computed, once for all rows and starts. A tenth of the
training images is kept back, and nothing else sees it: on it a set is judged, as it starts, after `1 Net` and refined,
by ridge heads in networks that nothing moved in, which takes seconds. What is in results/recipes.json is not run again;
the sets lie under `--root`.

    python -m experiments.studies.recipes --score base --starts 5 --data_dir ~/tensorflow_datasets

scores the sets of a row on the test split, once, by each of the ways in which networks learn a set.
"""

import argparse
import dataclasses
import functools
import importlib
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.stats

from experiments import records
from experiments.studies import held_out, paired_sets
from experiments.studies.learner import Learner
from fsdd import config as configs
from fsdd.assembly import environment, keys, real_sets, scorers
from fsdd.core import compilation, descent, synthetic_set
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.distilling import context as contexts
from fsdd.distilling import moves, starts
from fsdd.distilling.context import Context
from fsdd.distilling.stages import distill
from fsdd.io import progress, provenance, synthetic_files, workdir
from fsdd.methods import distillation, optimisers, streams

NETWORKS = 125
# Of protocols: what learns a set by them, and how many networks do.
LEARNS = {
    "ridge": "the dense layer of a random network, in closed form",
    "ridge_then_train": "that, then all layers",
    "recommended": "all layers, from a random start",
}
FITS = {"ridge": 3, "ridge_then_train": 1, "recommended": 1}


@dataclasses.dataclass(frozen=True)
class Way:
    """How a set is made.

    Attributes:
        title: what the table says.
        one_net: steps of `1 Net`, by Adam on batches of 512; 0 is none.
        rate: LAMB's in refinement, where it falls along a cosine.
        final: what it falls to, as a part of itself.
        uses: how many steps each network serves.
        factor: 2 stores four images of half the side in the place of each (DS).
    """

    title: str
    one_net: int = 60
    rate: float = 3e-3
    final: float = 0.1
    uses: int = 8
    factor: int = 1


WAYS = {
    "base": Way("`1 Net`, then 125 networks, 8 uses each, by LAMB at 3e-3"),
    "rate10": Way("at 1e-2", rate=1e-2),
    "rate15": Way("at 1.5e-2, down to a hundredth of it", rate=1.5e-2, final=0.01),
    "rate30": Way("at 3e-2", rate=3e-2),
    "real": Way("without `1 Net`", one_net=0),
    "real_rate20_uses12": Way("without `1 Net`, at 2e-2, 12 uses each", one_net=0, rate=2e-2, uses=12),
    "real_rate20": Way("without `1 Net`, at 2e-2", one_net=0, rate=2e-2),
    "small": Way("the same, 4 uses, four images of half the side (DS)", one_net=0, rate=2e-2, uses=4, factor=2),
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
        self._one = functools.cache(
            lambda: self._fill(distill.build_stream(context), keys.fixed_network_key(context.config))
        )

    def _fill(self, stream: streams.Stream, key: jax.Array) -> streams.Group:
        network, real = self._context.objective.real_network, self._context.real
        return streams.fill(stream, network, real, jax.random.fold_in(key, 0))

    def distil(self, before: SyntheticSet, way: Way, key: jax.Array) -> SyntheticSet:
        """`1 Net`."""
        optimiser = optimisers.build("adam", optimisers.cosine(0.025, way.one_net))
        return self._move(before, way, streams.Stream(1, way.one_net, batch=512), self._one(), optimiser, key)

    def refine(self, before: SyntheticSet, way: Way, key: jax.Array) -> SyntheticSet:
        """Refinement."""
        held = len(self._many.labels)
        stream = streams.Stream(held, way.uses, group=held)
        optimiser = optimisers.build("lamb", optimisers.cosine(way.rate, stream.steps, way.final))
        return self._move(before, way, stream, self._many, optimiser, key)

    def _move(
        self,
        before: SyntheticSet,
        way: Way,
        stream: streams.Stream,
        group: streams.Group,
        optimiser: optax.GradientTransformation,
        key: jax.Array,
    ) -> SyntheticSet:
        objective = dataclasses.replace(self._context.objective, factor=way.factor)
        step = compilation.bind(distillation.step, objective=objective, optimiser=optimiser)
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


def build_config(arguments: argparse.Namespace, **fields: Any) -> configs.Resolved:
    """The default recipe, with the `1 Net` of few steps."""
    config = importlib.import_module("configs.cifar10_ipc1").get_config()
    fields |= {"data_dir": arguments.data_dir, "distill.batch": 512}
    if arguments.smoke:
        fields |= {"dataset": "digits", "network.width": 4, "evaluate.steps": 4}
    config.update_from_flattened_dict(fields)
    return configs.resolve(config)


def build_context(arguments: argparse.Namespace) -> Context:
    """Data, whitening and objective, a tenth of the training images kept back."""
    return contexts.prepare(build_config(arguments, validation_fraction=0.1), arguments.root)


def measure(networks: Networks, context: Context, way: Way, seed: int) -> tuple[SyntheticSet, dict[str, Any]]:
    """The refined set, and what the judge says of it and of what it was before."""
    synthetic = starts.choose_start(paired_sets.reseed(context, seed, way.factor), 1)
    row = {"start": networks.judge(synthetic.decoded(way.factor))}
    if way.one_net:
        synthetic = networks.distil(synthetic, way, jax.random.key(seed + 7))
        row["one_net"] = networks.judge(synthetic.decoded(way.factor))
    synthetic = networks.refine(synthetic, way, jax.random.key(seed + 11))
    return synthetic, row | {"refined": networks.judge(synthetic.decoded(way.factor))}


def score(
    context: Context, arguments: argparse.Namespace, images: jax.Array, classes: np.ndarray, seed: int, protocol: str
) -> list[float]:
    """Accuracies in percent, on whitened test images, of networks that learn a stored set by a protocol."""
    stored = synthetic_files.read_set(arguments.root / "sets" / f"{arguments.score}_{seed}.npz")
    synthetic = stored.decoded(WAYS[arguments.score].factor)
    config = build_config(arguments, **{"evaluate.protocol": protocol})
    network, recipe = scorers.build_scorer(config, context.data.num_classes)
    learn = Learner(network, recipe, images, classes, config.compute.dispatch)
    return [round(learn(synthetic, seed, index), 2) for index in range(FITS[protocol])]


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
            spread = f"{np.mean(values):.1f}"
            if len(values) > 1:
                spread += f" ({min(values):.1f} to {max(values):.1f})"
            lines.append([way.title, len(own), spread, "" if name == "base" else _paired(gains)])
    told = _correlations([row for row in found["rows"] if row["row"] == "base"])
    head = ["way", "starts", "ridge accuracy (%)", "against the first"]
    return "\n\n".join([records.table(head, lines), *told, f"{found['device']}."])


def score_table() -> str:
    """How the sets of a row score on the test split by each protocol: over starts, means over networks."""
    scores, lines = (records.load("recipes") or {}).get("scores", []), []
    for row in dict.fromkeys(one["row"] for one in scores):
        for protocol, count in FITS.items():
            own = [one for one in scores if (one["row"], one["protocol"]) == (row, protocol)]
            means = [np.mean(one["accuracies"]) for one in own]
            if means:
                spread = f"{np.mean(means):.1f} ± {np.std(means, ddof=1):.1f}" if len(means) > 1 else f"{means[0]:.1f}"
                lines.append([LEARNS[protocol], f"`{protocol}`", spread, f"{len(means)} starts, {count} each"])
    return records.table(["what learns", "`evaluate.protocol`", "accuracy (%)", "networks"], lines) if lines else ""


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
    parser.add_argument("--score", choices=WAYS, help="score the sets of this row instead")
    parser.add_argument("--protocols", nargs="+", choices=FITS, default=list(FITS), help="by which to score them")
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--data_dir")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs/recipes"))
    parser.add_argument("--out", type=pathlib.Path, default=records.FOLDER / "recipes.json")
    parser.add_argument("--smoke", action="store_true", help="few narrow networks on digits, which say nothing")
    arguments = parser.parse_args()
    environment.prepare()
    found = records.read(arguments.out) or {"rows": [], "scores": []}
    (_score_missing if arguments.score else _measure_missing)(arguments, found)
    print(f"{markdown()}\n\n{score_table()}")


def _measure_missing(arguments: argparse.Namespace, found: dict[str, Any]) -> None:
    wanted = [(name, seed) for seed in range(arguments.starts) for name in arguments.rows]
    missing = [pair for pair in wanted if not records.find(found["rows"], row=pair[0], seed=pair[1])]
    if not missing:
        return
    context = build_context(arguments)
    networks = Networks(context, 2 if arguments.smoke else NETWORKS)
    for name, seed in missing:
        synthetic, row = measure(networks, context, WAYS[name], seed)
        synthetic_files.write_set(arguments.root / "sets" / f"{name}_{seed}.npz", synthetic)
        found["rows"].append({"row": name, "seed": seed} | row)
        print(f"{name}, start {seed}: {row['refined']}", flush=True)
        workdir.write(arguments.out, found | provenance.summary())


def _score_missing(arguments: argparse.Namespace, found: dict[str, Any]) -> None:
    scored = found.setdefault("scores", [])
    pairs = [
        {"row": arguments.score, "protocol": protocol, "seed": seed}
        for protocol in arguments.protocols
        for seed in range(arguments.starts)
    ]
    missing = [pair for pair in pairs if not records.find(scored, **pair)]
    if not missing:
        return
    context, data = build_context(arguments), real_sets.load_target_set(build_config(arguments))
    images = jnp.asarray(context.whitening.apply(data.test_images))
    for pair in missing:
        given = context, arguments, images, data.test_labels, pair["seed"], pair["protocol"]
        scored.append(pair | {"accuracies": score(*given)})
        print(", ".join(map(str, scored[-1].values())), flush=True)
        workdir.write(arguments.out, found | provenance.summary())


if __name__ == "__main__":
    main()
