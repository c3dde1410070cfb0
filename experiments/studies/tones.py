"""How much of what a translator gives could be a tone curve: sets with more contrast, more or less detail, or a gamma.

    python -m experiments.studies.tones --ipc 1 --starts 5 --minutes 4 --data_dir ~/tensorflow_datasets

Sets of `1 Net` are changed as no network was asked to change them, and networks are trained on each, paired by start as
in `side_by_side`. A gain is what a translator can have without having learned anything of images. All by the PyTorch
code's protocol. Writes results/tones_ipcIPC.json.
"""

import argparse
import functools
from collections.abc import Callable

import numpy as np
import scipy.ndimage

from experiments import records
from experiments.studies.paired_sets import Clock, Table, build_context, distil, judge, parse_arguments, score, tabulate
from fsdd.assembly import environment
from fsdd.core.synthetic_set import SyntheticSet


def scale(images: np.ndarray, factor: float) -> np.ndarray:
    """Values times a factor: contrast, in the whitened space."""
    return factor * images


def change_detail(images: np.ndarray, factor: float) -> np.ndarray:
    """What a blur of three pixels takes away, times a factor: more than 1 sharpens `[n, h, w, c]`, less blurs."""
    low = images
    for axis in (1, 2):
        low = scipy.ndimage.convolve1d(low, np.array([0.25, 0.5, 0.25]), axis=axis, mode="nearest")
    return low + factor * (images - low)


def bend(images: np.ndarray, power: float) -> np.ndarray:
    """Values to a power, with their signs, each image's spread as it was: above 1 large values stand out more."""
    bent = np.sign(images) * np.abs(images) ** power
    spread = functools.partial(np.std, axis=(1, 2, 3), keepdims=True)
    return bent * (spread(images) / np.maximum(spread(bent), 1e-12))


TONES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **{f"times {factor}": functools.partial(scale, factor=factor) for factor in (1.4, 2.0, 3.0)},
    **{f"detail times {factor}": functools.partial(change_detail, factor=factor) for factor in (0.5, 1.5, 2.0)},
    **{f"to the power {power}": functools.partial(bend, power=power) for power in (0.7, 1.4)},
    "times 2.0, detail times 1.5": lambda images: 2 * change_detail(images, 1.5),
    "times 2.0, detail times 0.5": lambda images: 2 * change_detail(images, 0.5),
    "times 2.0, to the power 0.7": lambda images: 2 * bend(images, 0.7),
}


def change(synthetic: SyntheticSet, tone: Callable[[np.ndarray], np.ndarray]) -> SyntheticSet:
    """A set with its images changed; its labels stay."""
    return synthetic.replace(images=tone(np.asarray(synthetic.images)).astype(np.float32))


def markdown(ipc: int) -> str:
    """What each change is worth at one IPC, beside the sets as they are."""
    found = records.load(f"tones_ipc{ipc}")
    if not found:
        return ""
    return f"{tabulate(found['rows'], 'sets', ('1 Net',))}\n\nIPC {ipc}, {found['starts']} starts, {found['device']}."


def main() -> None:
    """Distil, change, judge and score."""
    parser = argparse.ArgumentParser(prog="python -m experiments.studies.tones")
    arguments = parse_arguments(parser, "tones", starts=5, evaluated=3)
    clock = Clock(arguments.minutes)
    environment.prepare()
    context = build_context(arguments)
    table = Table(arguments.out, {name: getattr(arguments, name) for name in ("ipc", "starts", "steps")})
    sources = [distil(context, start) for start in range(arguments.starts)]
    print(f"sets are distilled after {clock.spent:.0f} s", flush=True)
    sets = {"1 Net": sources} | {name: [change(one, tone) for one in sources] for name, tone in TONES.items()}
    judge(context, sets, table, networks=2 if arguments.smoke else 16)
    score(context, sets, table, arguments.evaluate, clock)
    print(f"done after {clock.spent:.0f} s", flush=True)


if __name__ == "__main__":
    main()
