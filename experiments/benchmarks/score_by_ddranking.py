"""DD-Ranking's own score of an export, from its own networks, in an environment of its own.

    python -m fsdd.export RUN --format=ddranking --out=EXPORT
    python -m venv other && other/bin/pip install ddranking
    other/bin/python experiments/benchmarks/score_by_ddranking.py EXPORT --dataset=CIFAR10 --data=FOLDER

DD-Ranking 0.2.0 wants a NumPy below 2, which JAX does not: this file imports nothing of this package. FOLDER is where
torchvision keeps CIFAR's python version, or will. Training on all real images takes a GPU: `--real_accuracy` is what
DD-Ranking's networks reach there. Its label-robust score is a function of it; the accuracies that are printed are not.
"""

import argparse
import json
import pathlib
import tempfile

import torch
from ddranking.metrics import LabelRobustScoreHard
from ddranking.metrics import hard_label as metrics

# DSA's own figures, a draw for each image, by the names that DD-Ranking has for them.
DSA = {
    "flip": 0.5, "rotate": 15.0, "saturation": 2.0, "brightness": 1.0, "contrast": 0.5, "scale": 1.2, "crop": 0.125,
    "cutout": 0.5,
}  # fmt: skip


def main() -> None:
    """Train DD-Ranking's networks on an export's images, and on random real ones, and print what they score."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("export", type=pathlib.Path)
    parser.add_argument("--dataset", default="CIFAR10", choices=("CIFAR10", "CIFAR100"))
    parser.add_argument("--data", required=True)
    parser.add_argument("--real_accuracy", type=float, default=0.0)
    parser.add_argument("--networks", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--rate", type=float, default=0.01)
    arguments = parser.parse_args()
    images, labels = (torch.load(arguments.export / f"{name}.pt") for name in ("image_tensor", "hard_labels"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # Release 0.2.0 counts each network's score twice, so that the table it would write of its figures cannot be made.
    metrics.save_results = lambda results, path: None
    metrics.REAL_DATA_ACC_CACHE[f"{arguments.dataset}-ConvNet-3"] = arguments.real_accuracy
    with tempfile.TemporaryDirectory() as folder:
        evaluator = LabelRobustScoreHard(
            dataset=arguments.dataset, real_data_path=arguments.data, ipc=len(images) // int(labels.max() + 1),
            model_name="ConvNet-3", data_aug_func="dsa", aug_params=DSA, optimizer="sgd", lr_scheduler="step",
            step_size=arguments.epochs // 2, num_eval=arguments.networks, num_epochs=arguments.epochs, num_workers=0,
            save_path=f"{folder}/scores.csv", random_data_path=folder, device=device,
        )  # fmt: skip
        # One look at the test set, the last.
        evaluator.test_interval = arguments.epochs
        found = evaluator.compute_metrics(image_tensor=images.to(device), hard_labels=labels, syn_lr=arguments.rate)
    accuracy = arguments.real_accuracy - found["hard_label_recovery_mean"]
    print(json.dumps({"accuracy": accuracy, "std": found["hard_label_recovery_std"]} | found))


if __name__ == "__main__":
    main()
