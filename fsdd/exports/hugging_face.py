"""A folder that Hugging Face's `datasets` loads, with a dataset card: Parquet if `datasets` is installed, else PNGs.

The Parquet file has what the set was made for as well: `train_image` and `train_label`, whitened images and learned
labels.
"""

import csv
import importlib.util
import json
import pathlib

import numpy as np
from PIL import Image

from fsdd.errors import UserError
from fsdd.exports.formats import EIGHT_BITS, NOT_LEARNED_LABELS, Format
from fsdd.io.stored_set import StoredSet

_CARD = """---
pretty_name: {title}
task_categories:
- image-classification
size_categories:
- {size}
tags:
- dataset-distillation
configs:
- config_name: default
  data_files:
  - split: train
    path: {path}
---

# {heading}

{count} synthetic images of {height}x{width}x{channels}, {ipc} for each of {classes} classes, distilled by
fsdd{made_of}.

{use}

| label | class |
|---|---|
{rows}
"""
_USE_PARQUET = (
    "Train on `train_image` (whitened, float32, `[h, w, c]`) towards `train_label` (learned, centred) by a squared "
    "loss, and whiten test images as export.json says: that is what the set's accuracies are about. `image` and "
    "`label`, 8-bit pixels and classes, are for viewing; a network that is trained on them learns less."
)
_USE_IMAGES = (
    "These are 8-bit pixels and classes. A set that was learned in a whitened space, with learned labels, loses much "
    "of its accuracy in this form; export it with `datasets` installed to keep both."
)


def write(stored: StoredSet, folder: pathlib.Path) -> None:
    """`README.md` and `data/train.parquet`, or `README.md` and `train/*.png` with `metadata.csv`."""
    if stored.pixels.shape[-1] not in (1, 3):
        raise UserError(f"{folder}: cannot be written: images have {stored.pixels.shape[-1]} channels; allowed: 1 or 3")
    has_datasets = importlib.util.find_spec("datasets") is not None
    images = [Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image) for image in stored.eight_bits]
    (_write_parquet if has_datasets else _write_images)(stored, images, folder)
    (folder / "README.md").write_text(_card(stored, has_datasets), encoding="utf-8")


def _write_parquet(stored: StoredSet, images: list[Image.Image], folder: pathlib.Path) -> None:
    import datasets

    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=_unique(stored.class_names)),
            "train_image": datasets.Array3D(stored.image_shape, "float32"),
            "train_label": datasets.Sequence(datasets.Value("float32"), len(stored.class_names)),
        }
    )
    columns = {
        "image": images,
        "label": stored.classes.tolist(),
        "train_image": list(np.asarray(stored.synthetic.decoded(stored.factor).images)),
        "train_label": stored.synthetic.labels.tolist(),
    }
    (folder / "data").mkdir()
    datasets.Dataset.from_dict(columns, features).to_parquet(folder / "data" / "train.parquet")


def _write_images(stored: StoredSet, images: list[Image.Image], folder: pathlib.Path) -> None:
    (folder / "train").mkdir()
    digits = len(str(len(images) - 1))
    rows = [("file_name", "label", "class_name")]
    for number, (image, label) in enumerate(zip(images, stored.classes.tolist(), strict=True)):
        rows.append((f"{number:0{digits}}.png", label, stored.class_names[label]))
        image.save(folder / "train" / rows[-1][0])
    with open(folder / "train" / "metadata.csv", "w", newline="", encoding="utf-8") as table:
        csv.writer(table).writerows(rows)


def _card(stored: StoredSet, has_datasets: bool) -> str:
    count, made_of = len(stored.classes), stored.provenance.get("dataset")
    height, width, channels = stored.image_shape
    title = " ".join(f"{made_of or 'A set'}, distilled".split())
    return _CARD.format(
        # A JSON text is a YAML text, whatever is in it.
        title=json.dumps(title, ensure_ascii=False),
        heading=title,
        size="n<1K" if count < 1000 else "1K<n<10K" if count < 10_000 else "10K<n<100K",
        path="data/train.parquet" if has_datasets else "train/**",
        count=count, height=height, width=width, channels=channels, ipc=stored.ipc, classes=len(stored.class_names),
        made_of=f" from {made_of}" if made_of else "",
        use=_USE_PARQUET if has_datasets else _USE_IMAGES,
        rows="\n".join(f"| {label} | {_cell(name)} |" for label, name in enumerate(stored.class_names)),
    )  # fmt: skip


def _cell(name: str) -> str:
    return " ".join(name.replace("|", "\\|").split())


def _unique(names: tuple[str, ...]) -> list[str]:
    """The names, as ClassLabel wants them: no two alike."""
    return list(names) if len(set(names)) == len(names) else [f"{label}_{name}" for label, name in enumerate(names)]


def _loses(stored: StoredSet) -> list[str]:
    if importlib.util.find_spec("datasets") is not None:
        return []
    return ["what 8 bits and clipping cut off, and that the set was learned in a whitened space", NOT_LEARNED_LABELS]


FORMAT = Format(
    "huggingface",
    "a folder for datasets.load_dataset, with a dataset card",
    write,
    f"image: {EIGHT_BITS}; train_image, where datasets was installed: whitened, float32",
    "image files; train_image [h, w, c]",
    "label: the class of each image; train_label, where datasets was installed: the learned labels",
    _loses,
    is_whitened=True,
)
