"""What a run gave, in a few lines for people."""

import pathlib
from typing import Any


def describe(results: dict[str, Any], folder: pathlib.Path) -> list[str]:
    """Lines on what is in `results.json`, and on where it is."""
    lines = [_describe_stage(stage, result, folder) for stage, result in results["stages"].items()]
    for result in results["evaluations"]:
        learned = f"{result['steps']} steps" if result["steps"] else "dense layer in closed form"
        over = f"{result['seeds']} seeds, each " if "seeds" in result else ""
        lines.append(
            f"accuracy of {result['stage']}: {spread(result['mean'], result['std'])} % ({over}{result['networks']} x "
            f"{result['architecture']} of width {result['width']}, {learned})"
        )
        lines += _describe_classes(result)
    if seeds := results.get("config", {}).get("seeds"):
        folders = ", ".join(f"seed{seed}" for seed in seeds)
        lines.append(f"stored a set and its picture in each of {folders}, in {folder}")
    # Pre-training leaves a translator instead.
    if "stored_numbers" in results:
        lines.append(f"stored {folder / 'synthetic.npz'}; look at {folder / 'synthetic.png'}")
    return lines


def _describe_classes(result: dict[str, Any]) -> list[str]:
    """A line where some class has half as many test images again as another: rare ones hardly count in the accuracy."""
    least, most = result.get("test_images_of_a_class", (1, 1))
    if not are_unequal(least, most):
        return []
    known = [accuracy for accuracy in result["class_accuracies"] if accuracy is not None]
    return [
        f"  {least} to {most} test images per class: balanced accuracy {result['balanced_accuracy']:.2f} %, "
        f"of single classes {min(known):.2f} to {max(known):.2f} %"
    ]


def are_unequal(least: int, most: int) -> bool:
    """Whether one class has half as many images again as another: from there on, what a class counts is told."""
    return 2 * most >= 3 * least


def spread(mean: float, std: float | None, sign: str = "+-", digits: int = 2) -> str:
    """A mean and, where there is one, the standard deviation."""
    return f"{mean:.{digits}f}" + (f" {sign} {std:.{digits}f}" if std is not None else "")


def _describe_stage(stage: str, result: dict[str, Any], folder: pathlib.Path) -> str:
    if stage == "cache":
        return _describe_cache(result, folder)
    if stage == "pretrain":
        return _describe_pretraining(result, folder)
    last = result["last"]
    # What is not regressed lowers a loss of its own.
    loss = f", NFR loss {last['nfr']:.4f}" if "nfr" in last else f", loss {last['loss']:.4f}" if last else ""
    return (
        f"{stage:10s} {result['steps']:6d} steps, {result['networks']} networks, {result['wall_seconds']:.0f} s "
        f"(compiling {result['compile_seconds']:.0f} s){loss}"
    )


def _describe_cache(result: dict[str, Any], folder: pathlib.Path) -> str:
    if not result["subsets"]:
        return "cache: other processes are at all subsets"
    return (
        f"cache: {result['subsets']} subsets, {result['bytes'] / 1e6:.1f} MB, {result['wall_seconds']:.0f} s "
        f"in all, median NFR loss {result['before'][1]:.4f} -> {result['after'][1]:.4f}; look at it with "
        f"--inspect={folder}"
    )


def _describe_pretraining(result: dict[str, Any], folder: pathlib.Path) -> str:
    held_out = result["held_out"]
    waited = f" ({result['waited_for_data']:.1%} waiting for data)" if "waited_for_data" in result else ""
    return (
        f"pretrain: {result['steps']} steps, {result['networks']} networks, {result['wall_seconds']:.0f} s"
        f"{waited}; NFR loss of held-out subsets {held_out['untranslated']:.4f}, translated "
        f"{held_out['translated']:.4f}; the translator is {folder / 'translator'}"
    )
