"""Put a pre-trained translator into the package, and into its card what it is worth on CIFAR-10.

    python -m experiments.studies.ship runs/pretrain_cpu --name tiny_imagenet32

Run it again once `experiments.paper.table3` has measured rows with the shipped translator: their accuracies are added.
"""

import argparse
import pathlib
import shutil

from experiments import cells
from fsdd.assembly import translators
from fsdd.io import report, workdir

LIMIT = 5_000_000
ROWS = (
    "one_net", "without_adaptation", "without_pretraining", "with_autoencoder", "with_adaptation",
    "ds_one_net", "ds_without_pretraining", "ds_with_adaptation",
)  # fmt: skip


def evaluated(scale: str, ipc: int) -> dict[str, str]:
    """Accuracies of the rows that stand side by side in Table 3 on CIFAR-10, from its cells."""
    found = {name: cells.get(cells.load(scale), name, "cifar10", ipc) for name in ROWS}
    scores = {name: cells.score(result) for name, result in found.items() if result}
    return {name: f"{report.spread(score['mean'], score['std'], digits=1)} %" for name, score in scores.items()}


def main() -> None:
    """Copy the checkpoint, if a workdir is given, and complete the card of the one that Table 3's cells used."""
    parser = argparse.ArgumentParser(prog="python -m experiments.studies.ship")
    parser.add_argument("workdir", type=pathlib.Path, nargs="?", help="of the pre-training; none: only the card")
    parser.add_argument("--name", default="tiny_imagenet32")
    arguments = parser.parse_args()
    folder = translators.PACKAGE / arguments.name
    if arguments.workdir:
        shutil.rmtree(folder, ignore_errors=True)
        # Orbax's note of success names the path that it wrote to; reading does not need it.
        shutil.copytree(arguments.workdir / "translator", folder, ignore=shutil.ignore_patterns("commit_success.txt"))
    for scale in (scale for scale, name in cells.PRETRAINED.items() if name == arguments.name):
        scores = {f"cifar10_ipc{ipc}": evaluated(scale, ipc) for ipc in cells.IPCS["cifar10"]}
        card = workdir.read(folder / "card.json") | {name: found for name, found in scores.items() if found}
        workdir.write(folder / "card.json", card)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {size / 1e6:.2f} MB")
    if size > LIMIT:
        raise SystemExit(f"over {LIMIT / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
