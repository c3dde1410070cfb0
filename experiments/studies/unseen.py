"""Does a translator carry over to sets that it did not learn on: what it gains there, by how much it learned.

    python -m fsdd.main --config=configs/pretrain_cpu.py --workdir=runs/pretrain_cpu
    python -m experiments.studies.unseen --data_dir ~/tensorflow_datasets

Beside the translator of that run stand some that learned on the store's first subsets, so many each (`--few`), for
fewer steps, and those of other runs on the same store (`--others`). They are judged without adaptation, by ridge heads
in networks and on real images that neither the set itself nor any subset that they learned on has: on subsets they
learned on, on subsets of the same store held out, and on sets of CIFAR-10 from ten starts, distilled alike. Writes
results/unseen.json, and where `--few` are several, a picture of gains by subsets.

For the translator of a GPU, whose ten sets of CIFAR-10 take hours here:

    python -m experiments.studies.unseen --config pretrain_tiny_imagenet32 --store pretrain_tiny_imagenet32 \\
        --judged 15 --few --groups "learned on" "held out" --out experiments/results/unseen_torch.json
"""

import argparse
import importlib
import pathlib
from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np

from experiments import charts, predictions, records, sweep
from experiments.studies.held_out import Judge
from fsdd import api
from fsdd import config as configs
from fsdd.assembly import environment, translators
from fsdd.assembly.objectives import build_objective
from fsdd.core.synthetic_set import SyntheticSet, centred_labels
from fsdd.data.real_set import RealSet
from fsdd.errors import UserError
from fsdd.io import provenance, workdir
from fsdd.methods import translation
from fsdd.methods.streams import Real
from fsdd.pretraining import batches, cache, real_images, store

STEPS, IMAGES, NETWORKS = 600, 500, 6
GROUPS = ("learned on", "held out", "cifar10")


def build_config(arguments: argparse.Namespace, **fields) -> configs.Resolved:
    """The pre-training config with some fields changed; `__` stands for a dot."""
    config = importlib.import_module(f"configs.{arguments.config}").get_config()
    config.data_dir = arguments.data_dir
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return configs.resolve(config)


def learn(arguments: argparse.Namespace, few: int) -> pathlib.Path:
    """The workdir of a translator that learned on the first few subsets of a store."""
    folder = arguments.root / f"unseen_{arguments.store}_{few}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "cache").exists():
        (folder / "cache").symlink_to((arguments.root / arguments.store / "cache").absolute())
    fields = {"pretrain__steps": STEPS, "pretrain__every": STEPS, "pretrain__held_out": 1}
    api.run(build_config(arguments, subsets__count=few, **fields), folder, "pretrain")
    return folder


def pair_subsets(kept: cache.Cache, indices: Iterable[int], drawn: np.ndarray) -> list[tuple[SyntheticSet, Judge]]:
    """Cached sets, each with a judge by images of its classes that are neither its own nor `drawn`."""
    source, pairs = store.Source(cache.read_shards(kept)), []
    for index in indices:
        one = source[source.indices.index(index)]
        pool = real_images.untouched(kept, one, drawn)
        if not len(pool.rows):
            raise UserError(f"{kept.folder}: no image of the classes of subset {index} is left that no subset has")
        pairs.append((_synthetic_set(one), _build_judge(kept, one, pool, min(len(pool.rows), IMAGES))))
    return pairs


def _build_judge(kept: cache.Cache, one: store.Cached, pool: real_images.Pool, count: int) -> Judge:
    """A judge by so many images of a pool, for sets of a subset's classes."""
    pixels, classes = pool.draw(np.random.default_rng(one.index), count)
    # A subset's classes are sorted.
    labels = centred_labels(np.searchsorted(one.classes, classes), len(one.classes))
    real = Real(jnp.asarray(kept.whitening.apply(pixels)), jnp.asarray(labels))
    return Judge(build_objective(kept.config, len(one.classes)), real, NETWORKS)


def _synthetic_set(cached: store.Cached) -> SyntheticSet:
    return SyntheticSet(jnp.asarray(cached.images), jnp.asarray(cached.targets))


def pair_cifar10(arguments: argparse.Namespace) -> list[tuple[SyntheticSet, Judge]]:
    """Ten sets of CIFAR-10 from starts of their own, and one judge by training images that none of them has."""
    fields = {"subsets__classes_max": 10, "subsets__synthetic": 10, "subsets__images": 10_000, "subsets__count": 10}
    config = build_config(arguments, dataset="cifar10", compute__lane_images=20, **fields)
    folder = arguments.root / f"unseen_{arguments.store}_cifar10"
    api.run(config, folder, "cache")
    kept = cache.prepare(config, folder)
    source = store.Source(cache.read_shards(kept))
    ten = [source[position] for position in range(len(source))]
    left = np.setdiff1d(np.arange(len(kept.data.train_labels)), np.concatenate([one.rows for one in ten]))
    # No image of the test split, by which networks are scored that are trained on such sets.
    pool = real_images.Pool(kept.data.train_images, kept.data.train_labels, left)
    judge = _build_judge(kept, ten[0], pool, min(len(left), 2 * IMAGES))
    return [(_synthetic_set(one), judge) for one in ten]


def gains(before: list[dict], after: list[dict]) -> dict[str, float]:
    """What judges say of a group before translation, and what it gains: means over sets, and their standard errors."""
    found = {}
    for figure in ("accuracy", "nfr_scaled"):
        old, new = (np.array([one[figure] for one in scores]) for scores in (before, after))
        found[figure] = round(float(old.mean()), 4)
        found[f"{figure}_gain"] = round(float((new - old).mean()), 4)
        found[f"{figure}_gain_error"] = round(float((new - old).std(ddof=1) / np.sqrt(len(old))), 4)
    return found


def judge_all(arguments: argparse.Namespace) -> list[dict]:
    """A row for each translator and group."""
    environment.prepare()
    own = arguments.root / arguments.store
    if not (own / "cache").is_dir():
        raise UserError(f"{own} has no store; run --stage=cache there first")
    known = [arguments.root / name for name in arguments.others] + [own] * (not arguments.few or _card(own) is not None)
    for folder in known:
        if _card(folder) is None:
            raise UserError(f"{folder} has no translator; run --stage=pretrain there first")
    kept = cache.prepare(build_config(arguments), own)
    cards = {folder: _card(folder) for folder in [*(learn(arguments, few) for few in arguments.few), *known]}
    # More may have been cached than some learned on.
    counts = [card["config"]["subsets.count"] for card in cards.values()]
    train, held_out = batches.split(max(counts))
    drawn = real_images.find_drawn(kept, train)
    makers = {
        "learned on": lambda: pair_subsets(kept, train[: arguments.judged], drawn),
        "held out": lambda: pair_subsets(kept, held_out[-arguments.judged :], drawn),
        "cifar10": lambda: pair_cifar10(arguments),
    }
    groups = {name: makers[name]() for name in arguments.groups}
    before = {name: [judge_of(one) for one, judge_of in pairs] for name, pairs in groups.items()}
    translator, rows = translators.build(kept.config, "fresh", kept.data.image_shape[-1]), []
    for folder, card in cards.items():
        variables = translators.load(translator, folder / "translator", kept.data.image_shape)
        count = card["config"]["subsets.count"]
        flops = predictions.caching_flops(build_config(arguments, subsets__count=count), _size(kept.data))
        learned = {"T": kept.config.distill.steps, "subsets": count, "steps": card["steps"]}
        learned |= {"caching_tflop": round(flops / 1e12)}
        for name, pairs in groups.items():
            after = [judge_of(translation.translate(translator, variables, one)) for one, judge_of in pairs]
            rows.append(learned | {"group": name, "sets": len(pairs)} | gains(before[name], after))
            print(rows[-1], flush=True)
    return rows


def _card(folder: pathlib.Path) -> dict | None:
    """Of the translator that a run left, if it left one."""
    return workdir.read(folder / "translator" / "card.json")


def _size(data: RealSet) -> predictions.Size:
    counts = (range(len(labels)) for labels in (data.train_labels, data.test_labels))
    return predictions.Size(data.image_shape, data.num_classes, *counts)


def draw(rows: list[dict], path: pathlib.Path) -> None:
    """Gains of ridge accuracy, and a standard error up and down, by subsets: of translators with equal steps."""
    least, series = min(row["steps"] for row in rows), []
    for group in dict.fromkeys(row["group"] for row in rows):
        own = [row for row in rows if (row["group"], row["steps"]) == (group, least)]
        own.sort(key=lambda row: row["subsets"])
        counts = [row["subsets"] for row in own]
        for sign in (-1, 0, 1):
            gains = [row["accuracy_gain"] + sign * row["accuracy_gain_error"] for row in own]
            series.append(charts.Series(counts, gains, group, "" if sign else group))
    charts.scatter(path, series, "subsets learned on", "gain of ridge accuracy (points)")


def markdown() -> str:
    """What translators gain on sets that they learned on and on others."""
    rows = []
    for row in [row for name in ("unseen", "unseen_torch") for row in (records.load(name) or {"rows": []})["rows"]]:
        gain = f"{row['accuracy_gain']:+.2f} ± {row['accuracy_gain_error']:.2f}"
        fall = f"{row['nfr_scaled_gain']:+.4f} ± {row['nfr_scaled_gain_error']:.4f}"
        learned = [row["T"], row["subsets"], row.get("caching_tflop"), row["steps"], row["group"], row["sets"]]
        rows.append([*learned, f"{row['accuracy']:.1f}", gain, f"{row['nfr_scaled']:.4f}", fall])
    head = [
        "T",
        "subsets",
        "caching (TFLOP)",
        "steps",
        "judged on",
        "sets",
        "ridge accuracy (%)",
        "gain",
        "NFR loss at best scale",
        "gain",
    ]
    return records.table(head, rows)


def main() -> None:
    """Learn, judge and write."""
    parser = argparse.ArgumentParser(prog="python -m experiments.studies.unseen")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs"))
    parser.add_argument(
        "--store", default="pretrain_cpu", help="the workdir under root with the store and a translator"
    )
    parser.add_argument("--others", nargs="*", default=[], help="more workdirs under root, on the same store")
    parser.add_argument("--config", default="pretrain_cpu", help="of configs/, by which the store was made")
    parser.add_argument("--few", type=int, nargs="*", default=[15], help="subsets that translators beside learn on")
    parser.add_argument("--judged", type=int, default=8, help="at most so many sets of the store a group")
    parser.add_argument("--groups", nargs="*", default=list(GROUPS), choices=GROUPS)
    parser.add_argument("--data_dir", default=None)
    parser.add_argument("--out", type=pathlib.Path, default=records.FOLDER / "unseen.json")
    arguments = parser.parse_args()
    if arguments.judged < 2:
        parser.error(f"--judged is {arguments.judged}; allowed: at least 2, whose spread is told")
    least = min(arguments.few, default=arguments.judged)
    if least < arguments.judged and "learned on" in arguments.groups:
        # Sets that it did not see would count as learned on.
        parser.error(f"--judged is {arguments.judged}; allowed: at most {least}, as --few says")
    with sweep.one_line_errors(parser.prog):
        rows = judge_all(arguments)
    workdir.write(arguments.out, {"rows": rows} | provenance.summary())
    if len(arguments.few) > 1:
        draw(rows, arguments.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
