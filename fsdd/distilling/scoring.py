"""Accuracies of the sets of one run: networks trained on each, resumable, scored on the whole test split."""

import functools
import pathlib
import shutil
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fsdd.assembly import keys, scorers
from fsdd.config import legacy
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.distilling import records
from fsdd.distilling.context import Context
from fsdd.evaluation import training, training_recipes, training_sets
from fsdd.evaluation.training_recipes import Recipe
from fsdd.io import progress, provenance, workdir
from fsdd.io.digests import digest_json
from fsdd.io.resumable import Resumable
from fsdd.io.synthetic_files import digest_set

# What a network's file has to say.
_RESULT = {"accuracy": float, "parameters": int, "steps": int, "wall_seconds": float}


class Scorer:
    """Scores the sets of one run. Test images are whitened once, and sets of one size share the compiled programs."""

    def __init__(self, context: Context):
        """For the sets of a run."""
        self._context = context
        self._network, _ = scorers.build_scorer(context.config, context.data.num_classes)

    def score(self, name: str, synthetic: SyntheticSet) -> dict[str, Any]:
        """Train fresh networks on one stage's set and score them; networks that are done are not trained again."""
        config, data = self._context.config, self._context.data
        _, recipe = scorers.build_scorer(config, data.num_classes, records.step_size_of(self._context, name))
        settings, folder = config.evaluate, self._folder(name, synthetic, recipe.rate)
        seen = training_sets.prepare(
            synthetic.decoded(config.factor),
            classes_of_rows(self._context),
            self._context.whitening,
            settings.images,
            settings.labels,
        )
        self._train_all(name, folder, seen, recipe)
        results = [workdir.read(folder / f"network{index}.json", _RESULT) for index in range(settings.networks)]
        accuracies = np.array([result["accuracy"] for result in results])
        return {
            "stage": name,
            "architecture": settings.architecture,
            "width": self._network.width,
            "norm": settings.norm,
            "parameters": results[0]["parameters"],
            "steps": results[0]["steps"],
            "networks": len(results),
            "test_images": len(data.test_labels),
            "accuracies": accuracies.round(2).tolist(),
            "mean": round(float(accuracies.mean()), 2),
            # One network has no spread.
            "std": round(float(accuracies.std(ddof=1)), 2) if len(results) > 1 else None,
            **_by_class(results, data.test_labels),
            "wall_seconds": round(sum(result["wall_seconds"] for result in results), 2),
            "recipe": {field: value for field, value in settings.items() if field not in ("stages", "networks")}
            | {"rate": recipe.rate},
        }

    @functools.cached_property
    def _test_images(self) -> np.ndarray:
        """The test images as networks see them, on the host."""
        images = self._context.config.evaluate.images
        whitening = training_sets.matching_whitening(self._context.whitening, images)
        return whitening.apply(self._context.data.test_images)

    def _folder(self, name: str, synthetic: SyntheticSet, rate: float) -> pathlib.Path:
        """One folder for each (set, way of evaluating); its name ends in a digest of both."""
        context, config, stage = self._context, self._context.config, name.partition("@")[0]
        stages_until = config.stages[: config.stages.index(stage) + 1] if stage in config.stages else ()
        fields = context.stage_fields(stages_until) | {
            f"evaluate.{field}": value
            for field, value in config.evaluate.items()
            # What a protocol fills says it all.
            if field not in ("stages", "networks", "protocol")
        }
        fields["evaluate.rate"] = rate
        if config.evaluate.steps:
            del fields["evaluate.length"], fields["evaluate.epochs"]
        # So that what earlier versions scored is found.
        fields = legacy.without_later(fields)
        fields |= {"mirror": config.mirror, "data": context.origin.identity, "set": digest_set(synthetic)}
        return context.folder / "evaluation" / f"{name}-{config.evaluate.architecture}-{digest_json(fields)[:8]}"

    def _train_all(self, name: str, folder: pathlib.Path, synthetic: SyntheticSet, recipe: Recipe) -> None:
        """Train and score the networks that are not done yet, so many at once, all on one progress bar."""
        networks, at_once = self._context.config.evaluate.networks, self._context.config.compute.networks_at_once
        together = [range(start, min(start + at_once, networks)) for start in range(0, networks, at_once)]
        undone = [indices for indices in together if not self._is_done(folder, indices)]
        if not undone:
            return
        steps, left = training_recipes.steps_of(recipe, len(synthetic)), sum(len(indices) for indices in undone)
        with progress.bar(f"evaluate {name}, {networks} networks", networks * steps, (networks - left) * steps) as bar:
            for indices in undone:
                self._train(name, folder, synthetic, recipe, indices, bar)

    def _is_done(self, folder: pathlib.Path, indices: range) -> bool:
        """Whether networks that are trained together have their results; what else they left is then deleted."""
        done = all((folder / f"network{index}.json").is_file() for index in indices)
        if done:
            # Left by a run that was killed between its last result and this.
            shutil.rmtree(_scratch(folder, indices), ignore_errors=True)
        return done

    def _train(
        self,
        name: str,
        folder: pathlib.Path,
        synthetic: SyntheticSet,
        recipe: Recipe,
        indices: range,
        bar: progress.Bar,
    ) -> None:
        """Train the networks `indices` at once, and write the result of each."""
        config, scratch = self._context.config, _scratch(folder, indices)
        network_keys = jnp.stack([keys.scoring_key(config.seed, index) for index in indices])
        steps = training_recipes.steps_of(recipe, len(synthetic))
        numbers = ", ".join(str(index + 1) for index in indices)
        label = f"evaluate {name}, network {numbers} of {config.evaluate.networks}"
        resumable = Resumable(scratch, label, steps, config.compute.checkpoint_seconds)
        trained, began = (self._network, recipe, synthetic, network_keys), time.monotonic()
        start, state = resumable.restore(training.init(*trained))
        if steps:
            taken = training.run(*trained, state, start=start, dispatch=config.compute.dispatch)
            state = resumable.follow(taken, bar, len(indices))
        else:
            jax.block_until_ready(state)
            resumable.seconds = time.monotonic() - began
        for index, result in zip(indices, self._results(state, resumable), strict=True):
            workdir.write(folder / f"network{index}.json", result)
        resumable.discard()
        scratch.rmdir()

    def _results(self, state, resumable: Resumable) -> list[dict[str, Any]]:
        """A result for each trained network."""
        variables, labels = training.variables(state), self._context.data.test_labels
        watch = progress.counting("test images", len(labels))
        predictions = training.classify(self._network, variables, self._test_images, watch=watch)
        parameters = sum(leaf[0].size for leaf in jax.tree.leaves(variables["params"]))
        figures = resumable.figures()
        del figures["curve"]
        figures["wall_seconds"] = round(figures["wall_seconds"] / len(predictions), 2)
        by_class = 100 * training.accuracy_by_class(predictions, labels, self._context.data.num_classes)
        return [
            {"accuracy": round(100 * float(np.mean(one == labels)), 2), "class_accuracies": _rounded(classes)}
            | {"parameters": parameters}
            | figures
            | provenance.summary()
            for one, classes in zip(predictions, by_class, strict=True)
        ]


def _scratch(folder: pathlib.Path, indices: range) -> pathlib.Path:
    """Where networks that are trained together have their checkpoints."""
    # How many there are is in the name, because the checkpoints hold all of them.
    return folder / f"training{indices[0]}x{len(indices)}"


def _by_class(results: list[dict[str, Any]], test_labels: np.ndarray) -> dict[str, Any]:
    """Accuracy of each class, its mean over networks, and balanced accuracy; nothing where networks do not say."""
    if not all("class_accuracies" in result for result in results):
        return {}  # of an earlier version
    classes = np.mean([np.array(result["class_accuracies"], float) for result in results], axis=0)
    counts = np.bincount(test_labels, minlength=len(classes))
    return {
        "class_accuracies": _rounded(classes),
        "balanced_accuracy": round(float(np.nanmean(classes)), 2),
        "test_images_of_a_class": [int(counts.min()), int(counts.max())],
    }


def _rounded(values: np.ndarray) -> list[float | None]:
    """As JSON holds it: None for a class without test images."""
    return [None if np.isnan(value) else round(float(value), 2) for value in values]


def classes_of_rows(context: Context) -> np.ndarray:
    """The class that each image of a run's sets was made for, int `[n]`."""
    return np.repeat(np.arange(context.data.num_classes), context.config.ipc * context.config.factor**2)
