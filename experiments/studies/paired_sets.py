"""Sets of several starts, judged and scored in pairs: those of one start share real images and evaluation networks."""

import argparse
import dataclasses
import importlib
import pathlib
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments import cells, records
from experiments.studies import held_out
from experiments.studies.learner import Learner
from fsdd import config as configs
from fsdd.assembly import scorers
from fsdd.core import synthetic_set
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.distilling import context as contexts
from fsdd.distilling import pipeline
from fsdd.distilling.context import Context
from fsdd.io import provenance, workdir
from fsdd.methods.streams import Real


class Clock:
    """What is left of the minutes."""

    def __init__(self, minutes: float):
        """Starts now."""
        self._began, self._seconds = time.monotonic(), 60 * minutes

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return self._seconds - self.spent


def parse_arguments(parser: argparse.ArgumentParser, name: str, starts: int, evaluated: int) -> argparse.Namespace:
    """The command line of a study of such sets, with what is its own added before; its result file is `name`_ipcIPC.

    A smoke test leaves everything outside the repository.
    """
    parser.add_argument("--ipc", type=int, default=1, choices=cells.IPCS["cifar10"])
    parser.add_argument("--starts", type=int, default=starts)
    parser.add_argument("--minutes", type=float, default=60.0, help="for all of it")
    parser.add_argument("--steps", type=int, default=3000, help="T, of `1 Net`")
    parser.add_argument("--evaluate", type=int, default=evaluated, help="networks trained on each set, at most")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs/side_by_side"), help="for workdirs")
    parser.add_argument("--data_dir")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--smoke", action="store_true", help="narrow networks, which say nothing")
    arguments = parser.parse_args()
    folder = records.FOLDER
    if arguments.smoke:
        folder = arguments.root = pathlib.Path(tempfile.mkdtemp(prefix="fsdd_smoke_"))
    arguments.out = arguments.out or folder / f"{name}_ipc{arguments.ipc}.json"
    return arguments


def build_context(arguments: argparse.Namespace) -> Context:
    """The data and the objective of the first start."""
    config = importlib.import_module(f"configs.cifar10_ipc{arguments.ipc}").get_config()
    fields = {"protocol": "frepo_torch", "method": "distill", "data_dir": arguments.data_dir}
    fields |= {"distill.steps": arguments.steps}
    if arguments.smoke:
        fields |= {"network.width": 8, "evaluate.steps": 4, "distill.batch": 64}
    config.update_from_flattened_dict(fields)
    return contexts.prepare(configs.resolve(config), arguments.root / f"ipc{arguments.ipc}_start0")


def reseed(context: Context, seed: int, factor: int = 1) -> Context:
    """The same data and networks with another seed: other real images, batches and evaluation networks.

    `factor` is the one by which stored images are smaller (DS).
    """
    config = configs.replace(context.config, {"seed": seed, "factor": factor, "stages": None})
    return dataclasses.replace(context, config=config)


def distil(context: Context, start: int) -> SyntheticSet:
    """`1 Net` from one start, or what is stored of it."""
    folder = context.folder.with_name(f"{context.folder.name[:-1]}{start}")
    seeded = dataclasses.replace(reseed(context, start), folder=folder)
    workdir.create(folder)
    return pipeline.run_stages(seeded)["distill"]


class Table:
    """Rows on their way to the result file, which is up to date after each figure."""

    def __init__(self, out: pathlib.Path, facts: dict[str, Any]):
        """An empty one."""
        self._out, self._facts, self.rows = out, facts, {}

    def put(self, row: str, **figures: Any) -> None:
        """Add figures to a row."""
        self.rows.setdefault(row, {"row": row}).update(figures)
        workdir.write(self._out, self._facts | {"rows": list(self.rows.values())} | provenance.summary())


def judge(context: Context, sets: dict[str, list[SyntheticSet]], table: Table, networks: int) -> None:
    """What ridge heads in networks that no variant saw make of each set, on test images."""
    images = context.whitening.apply(context.data.test_images[:5000])
    labels = synthetic_set.centred_labels(context.data.test_labels[:5000], context.data.num_classes)
    ask = held_out.Judge(context.objective, Real(jnp.asarray(images), jnp.asarray(labels)), networks)
    for name, starts in sets.items():
        table.put(name, ridge=[ask(one) for one in starts])
        figures = table.rows[name]["ridge"]
        print(f"{name}: nfr {[one['nfr'] for one in figures]}, {[one['accuracy'] for one in figures]} %", flush=True)


def score(context: Context, sets: dict[str, list[SyntheticSet]], table: Table, networks: int, clock: Clock) -> None:
    """Accuracy of networks trained on each set: one for every set, then another for every set, while there is time."""
    network, recipe = scorers.build_scorer(context.config, context.data.num_classes)
    images = jnp.asarray(context.whitening.apply(context.data.test_images))
    learn = Learner(network, recipe, images, context.data.test_labels, context.config.compute.dispatch)
    longest = 0.0
    for index in range(networks):
        for name, starts in sets.items():
            found = list(table.rows.get(name, {}).get("accuracies", [[] for _ in starts]))
            for start, one in enumerate(starts):
                if clock.left < 1.2 * longest:
                    print("no time is left for another network", flush=True)
                    return
                began = clock.spent
                found[start] = [*found[start], round(learn(one, start, index), 2)]
                # The first one compiles.
                longest = max(longest, clock.spent - began) if longest else 1e-9
            table.put(name, accuracies=found)
            print(f"{name}: {found}", flush=True)


def paired(row: dict[str, Any], base: dict[str, Any]) -> tuple[float, float] | None:
    """How far a row is above another in accuracy: mean over starts of the difference, and its standard error.

    Only evaluation networks count that every start of both has.
    """
    pairs = list(zip(row.get("accuracies", ()), base.get("accuracies", ())))  # noqa: B905, one may not be scored yet
    count = min((len(one) for pair in pairs for one in pair), default=0)
    if not count:
        return None
    ahead = [np.mean(one[:count]) - np.mean(two[:count]) for one, two in pairs]
    return float(np.mean(ahead)), float(np.std(ahead, ddof=1) / np.sqrt(len(ahead)))


def tabulate(rows: Sequence[dict[str, Any]], what: str, bases: Sequence[str]) -> str:
    """What the judge and trained networks say of each row, by the judge's loss, and how far it is above others."""
    by_name, lines = {row["row"]: row for row in rows}, []
    for name, row in sorted(by_name.items(), key=lambda item: np.mean([one["nfr"] for one in item[1]["ridge"]])):
        nfr, scale, accuracy = (np.mean([one[key] for one in row["ridge"]]) for key in ("nfr", "scale", "accuracy"))
        scored = row.get("accuracies", [[]])
        count = min(len(one) for one in scored)
        mean = f"{np.mean([one[:count] for one in scored]):.1f}" if count else None
        beside = [paired(row, by_name[base]) for base in bases]
        ahead = [f"{two[0]:+.1f} ± {two[1]:.1f}" if two and two[1] else None for two in beside]
        lines.append([name, f"{nfr:.4f}", f"{scale:.2f}", f"{accuracy:.1f}", mean, count, *ahead])
    head = [what, "NFR loss", "best scale", "ridge accuracy (%)", "accuracy (%)", "networks"]
    return records.table([*head, *(f"over {base}" for base in bases)], lines)
