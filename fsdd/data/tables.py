"""Tables of file names and labels: metadata.csv, Kaggle's train.csv, and Tiny ImageNet's annotations."""

import csv
import dataclasses
import pathlib
import re

from fsdd.data.unused import Unused
from fsdd.errors import UserError, one_line

_SUFFIXES = (".csv", ".tsv")
_FILES = ("file_name", "filename", "file", "image", "image_name", "image_id", "img", "path", "id", "name")
_LABELS = ("label", "class", "target", "category", "labels", "class_name", "y")


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of file name and label.

    Attributes:
        path: the file that they are from.
        columns: the names of the two columns, or how they are called.
        rows: file names, with or without folders and suffix, and labels, as texts.
    """

    path: pathlib.Path
    columns: tuple[str, str]
    rows: list[tuple[str, str]]


def find(root: pathlib.Path, split: pathlib.Path) -> Table | None:
    """The table of a split, if there is one that has labels.

    In the split it is called metadata, labels or annotations, or like the split; beside it like the split (train.csv,
    train_labels.csv), labels or metadata. Capitals and underscores do not matter.

    Raises:
        UserError: there are some for the training split, and none has a column of file names and one of labels.
    """
    own = split.name.lower() if split != root else "train"
    names = ["metadata", "labels", "annotations", own, f"{own}labels"]
    places = [(split, name) for name in names]
    if split != root:
        places += [(root, name) for name in (own, f"{own}labels", "labels", "metadata")]
    failures = []
    for folder, name in places:
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in _SUFFIXES and re.sub(r"[_\W]", "", path.stem.lower()) == name:
                try:
                    return _read(path)
                except UserError as error:
                    failures.append(error)
    if failures and own in ("train", "training"):
        raise failures[0]
    return None


def tiny_imagenet(path: pathlib.Path) -> Table:
    """The table in Tiny ImageNet's val_annotations.txt: file, class and a box, between tabs."""
    rows = [line.split("\t") for line in path.read_text().splitlines() if line.strip()]
    if any(len(row) < 2 for row in rows):
        raise UserError(f"{path}: has rows without a tab; allowed are rows of file name, class and box, between tabs")
    return Table(path, ("first", "second"), [(row[0], row[1]) for row in rows])


def match(
    table: Table, split: pathlib.Path, files: list[pathlib.Path], unused: Unused
) -> list[tuple[pathlib.Path, str]]:
    """The files of a split that a table has labels of, sorted by path, with these; what does not match is told.

    Raises:
        UserError: a file that has two labels.
    """
    index = _index(files, (unused.root, split, table.path.parent))
    labels: dict[pathlib.Path, str] = {}
    missing, empty = [], 0
    for name, label in table.rows:
        file = index.get(name.replace("\\", "/").removeprefix("./"))
        if not label:
            empty += 1
        elif file is None:
            # A table beside the splits may be that of them all.
            if not any((place / name).is_file() for place in (unused.root, table.path.parent)):
                missing.append(name)
        elif labels.setdefault(file, label) != label:
            raise UserError(f"{table.path}: {name!r} has labels {labels[file]!r} and {label!r}; allowed is one")
    if not labels:
        return []
    unused.use(table.path)
    where = f"{split.name}/" if split != unused.root else "images"
    unused.say(f"labels of {where} are from {table.path.name}, columns {' and '.join(table.columns)}")
    if missing:
        rows = f"{len(missing)} of {len(table.rows)} rows of {table.path.name}"
        unused.say(f"{rows} name no image, such as {missing[0]!r}")
    if empty:
        unused.say(f"{empty} of {len(table.rows)} rows of {table.path.name} have no label")
    return sorted(labels.items(), key=lambda item: item[0].parts)


def _index(files: list[pathlib.Path], places: tuple[pathlib.Path, ...]) -> dict[str, pathlib.Path | None]:
    """Files by all that a table may call them; what would be the name of two is that of none."""
    index: dict[str, pathlib.Path | None] = {}
    for file in files:
        paths = [file.relative_to(place) for place in places if file.is_relative_to(place)]
        keys = {path.as_posix() for path in paths} | {path.with_suffix("").as_posix() for path in paths}
        for key in keys | {file.name, file.stem}:
            index[key] = None if index.get(key, file) != file else file
    return index


def _read(path: pathlib.Path) -> Table:
    try:
        with path.open(encoding="utf-8-sig", newline="") as opened:
            head = opened.readline()
            opened.seek(0)
            delimiter = max(",;\t", key=head.count)
            lines = list(csv.reader(opened, delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise UserError(f"{path}: not a readable table ({one_line(error)})") from error
    columns = [column.strip() for column in lines[0]] if lines else []
    file_column = _column(columns, _FILES)
    label_column = _column([column for column in columns if column != file_column], _LABELS)
    if file_column and not label_column and len(columns) == 2:
        label_column = next(column for column in columns if column != file_column)
    if not file_column or not label_column:
        raise UserError(
            f"{path}: columns {', '.join(columns) or 'none'}; needed: one of file names ({', '.join(_FILES)}) and "
            f"one of labels ({', '.join(_LABELS)})"
        )
    places = columns.index(file_column), columns.index(label_column)
    rows = [tuple(row[place].strip() if place < len(row) else "" for place in places) for row in lines[1:] if row]
    return Table(path, (file_column, label_column), rows)


def _column(columns: list[str], names: tuple[str, ...]) -> str | None:
    lowered = {column.lower().replace(" ", "_"): column for column in columns}
    return next((lowered[name] for name in names if name in lowered), None)
