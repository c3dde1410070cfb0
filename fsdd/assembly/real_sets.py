"""From a resolved config to its real set, found fit for what the config does with it."""

import os

import numpy as np

from fsdd.assembly import keys
from fsdd.config import Resolved
from fsdd.core import whitening
from fsdd.data import classes, sources
from fsdd.data.real_set import RealSet
from fsdd.errors import UserError
from fsdd.io import notes, report


def load_real_set(
    config: Resolved, test_fraction: float = 0.0, validation_fraction: float = 0.0, given: RealSet | None = None
) -> RealSet:
    """The real set that a config names, with the classes that it asks for; notes on the set are logged.

    Args:
        config: resolved.
        test_fraction: the part of each class held out where there is no test split.
        validation_fraction: the part of the training images that takes the place of the test split.
        given: a set of the size that the config asks for, to be taken instead of one that is read.

    Raises:
        UserError: the set cannot be read, or lacks one of the classes.
    """
    if given is not None:
        data = sources.complete(given, test_fraction, validation_fraction, keys.shared_seed(config))
    else:
        data = sources.load(
            config.dataset,
            data_dir=config.data_dir,
            image_size=config.image_size,
            test_fraction=test_fraction,
            validation_fraction=validation_fraction,
            seed=keys.shared_seed(config),
            pixel_range=config.pixel_range,
            alpha_background=config.alpha_background,
        )
    if config.classes and max(config.classes) >= data.num_classes:
        raise UserError(
            f"config.classes is {config.classes}; allowed: some of 0 to {data.num_classes - 1}, the classes of "
            f"{data.name}"
        )
    data = data.only(config.classes) if config.classes else data
    for line in (*data.notes, f"{data.name}: {classes.describe(data.class_names)}", *_describe_mirroring(config, data)):
        notes.say(line)
    return data


def _describe_mirroring(config: Resolved, data: RealSet) -> list[str]:
    if config.mirror is None:  # not asked of what only draws pictures
        return []
    if config.mirror:
        return [f"{data.name}: mirror images are used; config.mirror=False is for images that mean something else then"]
    return [f"{data.name}: mirror images are not used; config.mirror=True is for images that mean the same then"]


def load_target_set(config: Resolved, given: RealSet | None = None) -> RealSet:
    """The set to distil, with its test split; `given` as in `load_real_set`.

    Raises:
        UserError: the set does not fit the config: it has no test images, too few of a class, or images that cannot be
            whitened.
    """
    data = load_real_set(config, config.test_fraction, config.validation_fraction, given)
    if not len(data.test_images) and config.evaluate.networks:
        raise UserError(
            f"config.test_fraction is {config.test_fraction}, which leaves {data.name} no test images; allowed: a "
            "number above 0, or config.evaluate.networks=0"
        )
    check_images(config, data)
    counts = np.bincount(data.train_labels, minlength=data.num_classes)
    most = counts.max() // config.factor**2
    for field, ipcs in {"ipc": (config.ipc,), "translate.ipcs": config.translate.ipcs}.items():
        if max(ipcs, default=0) > most:
            raise UserError(
                f"config.{field} is {config[field] if field == 'ipc' else ipcs}; allowed: at most {most}, the images "
                f"of the largest class of {data.name}{' over the square of config.factor' * (config.factor > 1)}"
            )
    _tell_of_imbalance(config, data, counts)
    _tell_of_rare_classes(config, data, counts)
    return data


def draws_balanced(config: Resolved, data: RealSet) -> bool:
    """Whether real images are drawn so that classes count alike: as the config says, else where classes differ."""
    if config.balanced is not None:
        return config.balanced
    counts = np.bincount(data.train_labels, minlength=data.num_classes)
    return report.are_unequal(int(counts.min()), int(counts.max()))


def _tell_of_imbalance(config: Resolved, data: RealSet, counts: np.ndarray) -> None:
    if not report.are_unequal(int(counts.min()), int(counts.max())):
        return
    fewest, most = int(counts.argmin()), int(counts.argmax())
    if draws_balanced(config, data):
        how = "they are drawn so that classes count alike; config.balanced=False is for drawing them as they come"
    else:
        how = "frequent classes count more; config.balanced=True is for classes that count alike"
    notes.say(
        f"{data.name}: {counts[fewest]:,} ({data.class_names[fewest]}) to {counts[most]:,} ({data.class_names[most]}) "
        f"training images per class; {how}"
    )


def _tell_of_rare_classes(config: Resolved, data: RealSet, counts: np.ndarray) -> None:
    needed = max((config.ipc, *config.translate.ipcs)) * config.factor**2
    rare = np.flatnonzero(counts < needed)
    if len(rare):
        shown = [f"{data.class_names[label]} ({counts[label]})" for label in rare[:5]]
        notes.say(
            f"{data.name}: {len(rare)} of {data.num_classes} classes have fewer than {needed} training images: "
            f"{', '.join(shown)}{', ...' * (len(rare) > 5)}; they start from all they have, repeated"
            f"{' mirrored and' * config.objective.flip} slightly perturbed"
        )


def check_images(config: Resolved, data: RealSet) -> None:
    """Check that images can be whitened and told apart, and that their side suits the config.

    Raises:
        UserError: they cannot, or it does not.
    """
    if data.num_classes < 2:
        raise UserError(f"{data.name} has one class, {data.class_names[0]!r}; allowed: a set of two or more")
    if all(np.array_equal(image, data.train_images[0]) for image in data.train_images):
        raise UserError(f"{data.name}: all training images are the same; allowed: a set of which two differ")
    side, channels = data.image_shape[0], data.image_shape[2]
    if max(config.picture_bands, default=0) >= channels:
        raise UserError(
            f"config.picture_bands is {config.picture_bands}; allowed: bands of {data.name} from 0 to {channels - 1}"
        )
    for field, value in (("translator.stride", config.translator.stride), ("factor", config.factor)):
        if side % value:
            raise UserError(f"config.{field} is {value}; allowed: a divisor of the images' side, {side}")
    if config.whitening.kind in whitening.CONSTANTS and channels != 3:
        raise UserError(
            f"config.whitening.kind is {config.whitening.kind!r}, and images of {data.name} have {channels} channels; "
            "allowed: 'standardize'"
        )
    needed = whitening.fitting_bytes(data.train_images, config.whitening.kind)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise UserError(
            f"config.whitening.kind is {config.whitening.kind!r}, which takes {needed / 1e9:.0f} GB for images "
            f"of {side}x{side}, and this machine has {memory / 1e9:.0f}; allowed: 'standardize', or a smaller "
            "config.image_size"
        )
