"""Translators: what they are, where one starts, which come with the package, and what a stored one is tied to.

`config.translate.init` and `config.pretrain.init` name a start: "fresh", "autoencoder", the name of a translator in the
package (`fsdd/pretrained`), or a folder with one, such as a run's `translator`.
"""

import dataclasses
import pathlib
from collections.abc import Callable

import jax

from fsdd import config as configs
from fsdd.config import Resolved, legacy
from fsdd.core import compilation
from fsdd.errors import UserError
from fsdd.io import checkpoint, paths, provenance, workdir
from fsdd.io.resumable import Resumable
from fsdd.methods import autoencoding, optimisers, translation
from fsdd.networks.translator import Translator

PACKAGE = pathlib.Path(__file__).parents[1] / "pretrained"
_MADE = ("fresh", "autoencoder")
# What a translator is besides the shapes of its variables.
_SHAPELESS = ("translator.stride", "translator.residual")
# What a card may say, and in what type.
_CARD = {"config": dict, "made_in": dict, "channels": int}


def packaged() -> list[str]:
    """Names of the translators that come with the package."""
    return sorted(path.parent.name for path in PACKAGE.glob("*/card.json"))


def folder_of(init: str) -> pathlib.Path | None:
    """Where a stored translator is; None for a start that is made instead of loaded."""
    if init in _MADE:
        return None
    return PACKAGE / init if init in packaged() else paths.expand(init, "translate.init or pretrain.init")


def check(config: Resolved, field: str, *, distilled_here: bool = True) -> None:
    """Check that a config's start exists, and that it fits the network in which the run distils.

    Args:
        config: resolved.
        field: which of its fields names the start.
        distilled_here: whether the run distils what is to be translated.

    Raises:
        UserError: there is no such translator, the config describes another one, or it knows only images distilled in
            another network.
    """
    part, _, name = field.partition(".")
    init = config[part][name]
    folder = folder_of(init)
    if folder is None:
        if init == "autoencoder" and config.translator.residual:
            raise UserError(
                f"config.{field} is 'autoencoder'; allowed with config.translator.residual=False only: a residual "
                "translator reconstructs from the start"
            )
        return
    if not (folder / "variables").is_dir():
        raise UserError(
            f"config.{field} is {init!r}, which holds no translator checkpoint; allowed: "
            f"{', '.join([*_MADE, *packaged()])}, or a folder with variables/ such as a run's translate/translator"
        )
    card, fields = _card(folder), configs.flat(config)
    for name in _SHAPELESS:
        # A card that does not say is of a translator that the config alone describes.
        if (stored := card.get("config", {}).get(name, fields[name])) != fields[name]:
            raise UserError(f"config.{name} is {fields[name]!r}; allowed: {stored!r}, as in the card of {folder}")
    if distilled_here:
        what = f"the images were distilled that the translator in {folder} was trained on"
        check_network(config, card.get("made_in", {}), what)


def describe_mismatch(config: Resolved, init: str) -> str | None:
    """A line on how a stored translator's own sets were distilled, where this run's will be distilled otherwise."""
    folder, fields = folder_of(init), configs.flat(config)
    made_in = _card(folder).get("made_in", {}) if folder else {}
    names = ("distill.steps", "distill.rate", "distill.batch", "distill.optimiser")
    if all(made_in.get(name, fields[name]) == fields[name] for name in names):
        return None
    recipe = ", ".join(f"{name} = {made_in[name]}" for name in names if name in made_in)
    return f"the translator in {folder.name} learned on sets distilled with {recipe}; others may gain less from it"


def check_network(config: Resolved, made_in: dict, what: str) -> None:
    """Check that a config's one fixed network, and its whitening, are those of what was made elsewhere.

    Raises:
        UserError: a field differs; `what` says what was made with the other value.
    """
    fields = configs.flat(config)
    for name, value in made_in.items():
        part, _, field = name.partition(".")
        tied = part == "whitening" or (part == "network" and field not in ("dtype", "cache_dtype"))
        if tied and fields.get(name) != value:
            raise UserError(f"config.{name} is {fields.get(name)!r}; allowed: {value!r}, with which {what}")


def _card(folder: pathlib.Path) -> dict:
    try:
        card = workdir.read(folder / "card.json", optional=_CARD) or {}
    except UserError as error:
        reason = str(error).removeprefix(str(folder / "card.json")).lstrip(": ").partition("; delete")[0]
        line = f"{folder / 'card.json'} is not a readable card ({reason}); copy the whole translator again"
        raise UserError(line) from error
    return card | {name: legacy.modernise(card[name]) for name in ("config", "made_in") if name in card}


def build(config: Resolved, init: str, channels: int) -> Translator:
    """The translator that a config describes, for images of so many channels.

    Raises:
        UserError: a stored one is for images of other channels.
    """
    folder, settings = folder_of(init), config.translator
    trained_on = _card(folder).get("channels", channels) if folder else channels
    if channels not in (trained_on, 1):
        raise UserError(
            f"the translator in {folder} is for images of {trained_on} channels; the images here have {channels}"
        )
    return Translator(trained_on, settings.widths, settings.stride, settings.residual)


def check_fit(config: Resolved, init: str, image_shape: tuple[int, int, int]) -> None:
    """Check that a translator can be built, and loaded if it is a stored one, for images `(h, w, c)`.

    Raises:
        UserError: it cannot.
    """
    translator = build(config, init, image_shape[-1])
    if stored := folder_of(init):
        load(translator, stored, image_shape)


def load(translator: Translator, folder: pathlib.Path, image_shape: tuple[int, int, int]) -> dict:
    """Variables of a stored translator.

    Raises:
        UserError: they are unreadable or of other shapes.
    """
    template = jax.eval_shape(lambda: translation.fresh(translator, jax.random.key(0), image_shape))
    return checkpoint.load_variables(folder, template, "translator")


@dataclasses.dataclass(frozen=True)
class Begun:
    """A translator where it begins.

    Attributes:
        translator: the network.
        variables: its variables.
        seconds: how long they took to make.
    """

    translator: Translator
    variables: dict
    seconds: float = 0.0


def begin(
    config: Resolved,
    init: str,
    image_shape: tuple[int, int, int],
    key: jax.Array,
    images: Callable[[], jax.Array],
    folder: pathlib.Path,
) -> Begun:
    """A translator that is random, trained to reconstruct real images, or loaded.

    Args:
        config: resolved.
        init: where to begin: the value of `config.translate.init`, say.
        image_shape: `(h, w, c)`.
        key: determines what is random.
        images: gives real images `[n, h, w, c]`, whitened, on the device.
        folder: where the auto-encoder's state goes.

    Raises:
        UserError: a stored translator does not fit.
    """
    translator = build(config, init, image_shape[-1])
    if stored := folder_of(init):
        return Begun(translator, load(translator, stored, image_shape))
    draw = compilation.jit(lambda key: translation.fresh(translator, key, image_shape))
    fresh = draw(jax.random.fold_in(key, 0))
    if init == "fresh":
        return Begun(translator, fresh)
    if not (folder / "card.json").is_file():
        _autoencode(config, translator, fresh, jax.random.fold_in(key, 1), images(), folder)
    seconds = workdir.read(folder / "card.json", {"wall_seconds": float})["wall_seconds"]
    return Begun(translator, load(translator, folder, image_shape), seconds)


def _autoencode(
    config: Resolved, translator: Translator, fresh: dict, key: jax.Array, images: jax.Array, folder: pathlib.Path
) -> None:
    """Train a fresh translator to reconstruct images, and store it."""
    settings, compute = config.autoencoder, config.compute
    optimiser = optimisers.build("adam", settings.rate)
    resumable = Resumable(folder, "autoencoder", settings.steps, compute.checkpoint_seconds)
    position, state = resumable.restore(autoencoding.init(fresh, optimiser))
    steps = autoencoding.run(
        state, images, key, translator=translator, optimiser=optimiser, batch=settings.batch, steps=settings.steps,
        start=position, dispatch=compute.dispatch,
    )  # fmt: skip
    state = resumable.follow(steps)
    variables = autoencoding.variables(state)
    checkpoint.save_variables(folder, variables, resumable.figures() | provenance.summary())
    resumable.discard()
