"""A look at a store of cached subsets: what is in it, what is damaged, and what it looks like."""

import pathlib

import numpy as np

from fsdd import config as configs
from fsdd.assembly import real_sets
from fsdd.errors import UserError
from fsdd.io import pictures, whitening_files, workdir
from fsdd.pretraining import job, store
from fsdd.pretraining.cache import identity

_SHOWN, _CLASSES = 4, 4


def inspect(folder: pathlib.Path) -> bool:
    """Print what a workdir's store holds, and draw `subsets.png` and `losses.png` beside its card.

    Returns:
        Whether all of it is whole.

    Raises:
        UserError: there is no store.
    """
    place = folder / "cache"
    card = workdir.read(place / "card.json", {"config": dict, "set": dict})
    if card is None:
        raise UserError(f"--inspect is {str(folder)!r}, which has no cache/card.json; allowed: a workdir with a store")
    shards, damaged = store.shards(place)
    figures = job.summarise(shards)
    print(f"{place}: subsets of {card['set']['name']}, network seed {card['config']['network.seed']}")
    for name, value in figures.items():
        spread = isinstance(value, list) and value
        print(f"  {name:16s} {'least {:g}, median {:g}, most {:g}'.format(*value) if spread else value}")
    for path, reason in damaged.items():
        print(f"  damaged: {path}: {reason}")
    if aside := list((place / "damaged").glob("*")):
        print(f"  {len(aside)} damaged shards were put aside in {place / 'damaged'}")
    if shards:
        _draw_losses(place / "losses.png", shards)
        _draw_subsets(place, card, shards)
    return not damaged


def _draw_losses(path: pathlib.Path, shards: list[store.Shard]) -> None:
    """The distribution of losses: each share of the subsets is below its value."""
    subsets = [subset for shard in shards for subset in shard.header["subsets"]]
    shares = 100 * (np.arange(len(subsets)) + 0.5) / len(subsets)
    series = {
        "before": (shares, np.sort([subset["before"] for subset in subsets])),
        "after": (shares, np.sort([subset["after"] for subset in subsets])),
    }
    pictures.curve(path, series, xlabel="share of the subsets (%)", ylabel="NFR loss in the fixed network")
    print(f"  look at {path}")


def _draw_subsets(place: pathlib.Path, card: dict, shards: list[store.Shard]) -> None:
    """Some classes of a few subsets: the real images they started from beside what became of them."""
    config = configs.default()
    # Those that are newer than the store are as by default.
    names = {"dataset", "image_size", "pixel_range", "alpha_background", "seed"} & set(card["config"])
    given = {name: tuple(one) if isinstance(one := card["config"][name], list) else one for name in names}
    config.update(given | {"data_dir": card["data_dir"]})
    config.classes = tuple(card.get("classes", ()))
    try:
        data, whitening = real_sets.load_real_set(config), whitening_files.read(place / "whitening.npz")
        workdir.compare(place, card["set"], identity(data), f"another {config.dataset}: its ")
    except UserError as error:
        print(f"  no picture of subsets: {error}")
        return
    source = store.Source(shards)
    before, after, rows, titles = [], [], [], []
    for position in np.unique(np.linspace(0, len(source) - 1, _SHOWN).round().astype(int)):
        cached = source[int(position)]
        classes = cached.labels[cached.start]
        for label in np.unique(np.linspace(0, len(cached.classes) - 1, _CLASSES).round().astype(int)):
            shown = np.flatnonzero(classes == label)[:4]
            before.append(data.train_images[cached.rows[cached.start[shown]]] / np.float32(255))
            after.append(whitening.invert(cached.images[shown]))
            rows += [len(titles)] * len(shown)
            titles.append(f"{cached.index}: {data.class_names[cached.classes[label]]}")
    panels = {"real": np.concatenate(before), "distilled": np.concatenate(after)}
    pictures.grid(place / "subsets.png", panels, np.array(rows), titles)
    print(f"  look at {place / 'subsets.png'}")
