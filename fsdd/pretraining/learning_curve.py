"""How a translator learns: judged now and then on subsets held out and, if one is named, on a target set.

Subsets are judged on real images of their classes that neither they nor any subset to train on has (real_images.py):
those of the big set's test split, if it has one.

The target is the workdir of a finished run that distilled in the same fixed network. What is judged is `w/o Ada`: its
set, translated and as it is, by the ridge head in networks that no step sees, on the validation images that the run set
aside (`validation_fraction`), or else on images of its training split, which its distillation saw: nothing chosen by
this curve has seen a test image.
"""

import json
import pathlib

import jax
import numpy as np

from fsdd import config as configs
from fsdd.assembly import translators
from fsdd.config import legacy
from fsdd.core import mesh, whitening
from fsdd.core.synthetic_set import Mask, centred_labels
from fsdd.data import sources
from fsdd.errors import UserError
from fsdd.io import paths, pictures, workdir
from fsdd.io.atomic import replacing
from fsdd.io.synthetic_files import read_set
from fsdd.methods import lanes
from fsdd.methods.translation import Case
from fsdd.methods.translator_training import Batch, TranslatorTrainer
from fsdd.pretraining import batches
from fsdd.pretraining.cache import Cache

_TARGET_IMAGES = 1000
# What the results of a target have to say of its data.
_OF_TARGETS = (
    "dataset",
    "data_dir",
    "image_size",
    "test_fraction",
    "seed",
    "whitening.kind",
    "whitening.regularisation",
)


def check_target(config) -> None:
    """Check that a config's target is a finished run that distilled in the config's fixed network.

    Raises:
        UserError: it is not.
    """
    if not config.pretrain.target:
        return
    folder = paths.expand(config.pretrain.target, "config.pretrain.target")
    results = workdir.read(folder / "results.json", {"config": dict})
    if results is None or not (folder / "distill" / "set.npz").is_file():
        raise UserError(
            f"config.pretrain.target is {config.pretrain.target!r}; allowed: the workdir of a finished run with the "
            "stage distill"
        )
    made_by = legacy.modernise(results["config"])
    for name in _OF_TARGETS:
        try:
            configs.check_value(name, made_by.get(name))
        except UserError as error:
            raise UserError(f"{folder / 'results.json'}: {error}") from error
    if made_by.get("factor", 1) != 1:
        raise UserError(
            f"config.pretrain.target is {config.pretrain.target!r}, made with config.factor = "
            f"{made_by['factor']}; allowed: a run with images of full size"
        )
    translators.check_network(config, made_by, f"the target {folder} was distilled")


def cases(cache: Cache, trainer: TranslatorTrainer, visible: int) -> dict[str, Case]:
    """What judges: subsets held out of the first `visible`, and the target if there is one."""
    judged = {"": trainer.cases(batches.held_out(cache, visible), mesh.replicate(trainer.mesh, cache.whitening))}
    if cache.config.pretrain.target:
        judged["target_"] = _target(cache, trainer)
    return judged


def _target(cache: Cache, trainer: TranslatorTrainer) -> Case:
    folder = paths.expand(cache.config.pretrain.target, "config.pretrain.target")
    made_by = legacy.modernise(workdir.read(folder / "results.json")["config"])
    data = sources.load(
        made_by["dataset"],
        data_dir=made_by["data_dir"] or cache.config.data_dir,
        image_size=made_by["image_size"],
        test_fraction=made_by["test_fraction"],
        validation_fraction=made_by.get("validation_fraction", 0.0),
        seed=made_by["seed"],
        pixel_range=made_by.get("pixel_range", ()),
        alpha_background=made_by.get("alpha_background", (255, 255, 255)),
    )
    data = data.only(made_by["classes"]) if made_by.get("classes") else data
    if data.image_shape[-1] not in (cache.data.image_shape[-1], 1):
        raise UserError(
            f"config.pretrain.target is {cache.config.pretrain.target!r}, whose images have {data.image_shape[-1]} "
            f"channels; allowed: {cache.data.image_shape[-1]}, as the big set's, or 1"
        )
    fitted = whitening.fit(data.train_images, made_by["whitening.kind"], made_by["whitening.regularisation"])
    source = jax.tree.map(np.asarray, read_set(folder / "distill" / "set.npz"))
    count = batches.whole(cache.config.pretrain.held_out)
    # With a validation fraction, that part of the training images is in the place of the test split.
    validated = bool(made_by.get("validation_fraction"))
    images = data.test_images if validated else data.train_images
    classes = data.test_labels if validated else data.train_labels
    rows = np.random.default_rng(cache.config.seed).permutation(len(classes))[:_TARGET_IMAGES]
    labels = centred_labels(classes[rows], data.num_classes)
    mask = Mask(np.ones(len(source.images), bool), np.ones(data.num_classes, bool))
    local = batches.local_lanes(count)
    key = batches.judges(cache.config, count)[local.start : local.stop]
    # The same set for each network that judges.
    batch = lanes.stack([Batch(source, mask, images[rows], labels, one) for one in key])
    return trainer.cases(batch, mesh.replicate(trainer.mesh, fitted))


def point(trainer: TranslatorTrainer, variables: dict, judged: dict[str, Case]) -> dict[str, float]:
    """What a point of the curve says of a translator: NFR losses, and accuracies in percent, of ridge heads."""
    values = {}
    for name, case in judged.items():
        for side, parts in zip(("translated", "untranslated"), trainer.judge(variables, case), strict=True):
            values[f"{name}{side}"] = float(parts["nfr"])
            values[f"{name}scaled_{side}"] = float(parts["nfr_scaled"])
            values[f"{name}accuracy_{side}"] = round(100 * float(parts["accuracy"]), 2)
    return values


def read(folder: pathlib.Path) -> list[dict]:
    """The points in a stage's folder."""
    path = folder / "curve.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def write(folder: pathlib.Path, points: list[dict]) -> None:
    """Write points as JSON lines and as a picture."""
    with replacing(folder / "curve.jsonl") as path:
        path.write_text("".join(json.dumps(point) + "\n" for point in points))
    titles = {"untranslated": "held-out subsets", "translated": "held-out subsets, translated"}
    titles |= {"target_untranslated": "target", "target_translated": "target, translated"}
    series = {}
    for name, title in titles.items():
        # A target may be named, or given up, while a run is stopped.
        if known := [point for point in points if name in point]:
            series[title] = [point["step"] for point in known], [point[name] for point in known]
    pictures.curve(folder / "curve.png", series, xlabel="step", ylabel="NFR loss, held-out networks", log_x=True)
