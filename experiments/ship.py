"""Put a pre-trained translator into the package, and into its card what it is worth on CIFAR-10.

    python -m experiments.ship runs/pretrain_cpu --name tiny_imagenet32

Run it again once `experiments.pretrained` has measured rows with the shipped translator: their accuracies are added.
"""

import argparse
import json
import pathlib
import shutil

from experiments import sweep
from fsdd import translators
from fsdd.io import workdir

LIMIT = 5_000_000


def evaluated() -> dict[str, str]:
    """Accuracies of the rows that stand beside each other, from results/*.json."""
    wanted = ("one_net_best_seed0", "without_pretraining")
    rows = [row for name in ("one_net", "adaptation") for row in _load(name) if row["row"] in wanted]
    rows += _load("pretrained")
    scores = {row["row"]: row["evaluations"][-1] for row in rows if row["evaluations"]}
    return {name: f"{score['mean']:.1f} +- {score['std']:.1f} %" for name, score in scores.items()}


def _load(name: str) -> list[dict]:
    path = sweep.RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else []


def main() -> None:
    """Copy the checkpoint, if a workdir is given, and complete the card."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workdir", type=pathlib.Path, nargs="?", help="of the pre-training; none: only the card")
    parser.add_argument("--name", default="tiny_imagenet32")
    arguments = parser.parse_args()
    folder = translators.PACKAGE / arguments.name
    if arguments.workdir:
        shutil.rmtree(folder, ignore_errors=True)
        # Orbax's note of success names the path that it wrote to; reading does not need it.
        shutil.copytree(arguments.workdir / "translator", folder, ignore=shutil.ignore_patterns("commit_success.txt"))
    card = workdir.read(folder / "card.json") | {"cifar10_ipc1": evaluated()}
    workdir.write(folder / "card.json", card)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {size / 1e6:.2f} MB")
    if size > LIMIT:
        raise SystemExit(f"over {LIMIT / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
