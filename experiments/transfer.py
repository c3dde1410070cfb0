"""Does the translator `tiny_imagenet32` transfer: NFR loss on sets it never saw, before and after, unadapted.

    python -m experiments.transfer --data_dir ~/tensorflow_datasets

Each set is distilled at one image a class as the subsets were that the translator was trained on. The loss is that of
the ridge head in 20 networks that no stage has seen, on 1,000 training images. Writes results/transfer.json.
"""

import argparse
import pathlib

from experiments import sweep
from experiments.held_out import load, of_target
from fsdd import config as configs
from fsdd.distilling import pipeline
from fsdd.io import provenance
from fsdd.io import workdir

# Digits are grey, 8x8, and have no mirror images.
SETS = ("cifar10", "cifar100", "digits")
NETWORKS = 20
# As in configs/pretrain_cpu.py.
DISTILLED = {"distill.uses": 60, "distill.batch": 512, "distill.rate": 0.025}


def main() -> None:
    """Distil, translate and judge every set."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs"))
    parser.add_argument("--data_dir", default=None)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=SETS)
    parser.add_argument("--translator", default="tiny_imagenet32")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.sets:
        config = configs.few_networks(configs.default())
        fields = DISTILLED | {"dataset": name, "ipc": 1, "method": "translate", "evaluate.networks": 0}
        fields |= {"translate.init": arguments.translator, "translate.networks": 0}
        config.update_from_flattened_dict(fields)
        config.data_dir = arguments.data_dir
        folder = arguments.root / f"transfer_{name}"
        pipeline.run(config, folder)
        judge = of_target(configs.resolve(config), arguments.data_dir, NETWORKS)
        row = {"set": name} | {stage: judge(load(folder / stage / "set.npz")) for stage in ("distill", "translate")}
        rows.append(row)
        print(row, flush=True)
        report = {"networks": NETWORKS, "rows": rows} | provenance.summary()
        workdir.write(sweep.RESULTS / "transfer.json", report)


if __name__ == "__main__":
    main()
