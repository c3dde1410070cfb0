"""Config fields as arguments of Python calls: values as programs have them, and errors that speak of arguments."""

import contextlib
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections
import numpy as np

from fsdd.config import resolution
from fsdd.config.table import table
from fsdd.errors import UserError

_FIELD = re.compile(r"(?:--)?\bconfig\.([a-z_]+(?:\.[a-z_]+)*)")
# What of the command line errors name, and what takes its place in Python.
_FLAGS = {
    "another --workdir": "another workdir",
    "--workdir": "workdir",
    "--help lists all of them": "fsdd.fields() lists all of them",
}


def flatten(fields: Any) -> dict[str, Any]:
    """Fields by dotted name, with values that a config takes.

    Args:
        fields: None, or a mapping of dotted names to values or to mappings of the names after the dot: NumPy's scalars
            and arrays, ranges, lists and paths are taken for what they hold.

    Raises:
        UserError: it is no mapping, or a name is no text.
    """
    if fields is None:
        return {}
    if not isinstance(fields, Mapping):
        raise UserError(f"fields is {fields!r:.80}; allowed: a dict of values by the names of config fields")
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if not isinstance(name, str):
            raise UserError(f"fields has the name {name!r:.80}; allowed: names of config fields, as text")
        inner = {f"{name}.{last}": one for last, one in flatten(value).items()} if isinstance(value, Mapping) else None
        for full, one in (inner or {name: plain(value)}).items() if inner != {} else ():
            if full in flat:
                raise UserError(f"fields gives {full!r} twice; allowed: once")
            flat[full] = one
    return flat


def plain(value: Any) -> Any:
    """A value as Python's own types have it: numbers for NumPy's, tuples for arrays, ranges and lists."""
    if isinstance(value, pathlib.PurePath):
        return str(value)
    if isinstance(value, np.floating):
        # The shortest decimal that is this number: 0.1 for float32's 0.1, and not 0.10000000149.
        return float(str(value))
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, range | list | tuple):
        return tuple(plain(one) for one in value)
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        return plain(array[()]) if array.ndim == 0 else tuple(plain(one) for one in array)
    return value


def change(config: ml_collections.ConfigDict, fields: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """A config with some fields, by dotted name, changed.

    Raises:
        UserError: a field is unknown, or may not have its value.
    """
    for name, value in fields.items():
        if name not in table():
            raise resolution.unknown_field(name)
        # Before the config makes a number of it: it takes False for 0.0.
        resolution.check_value(name, value)
        config.update_from_flattened_dict({name: value})
    return config


def gather(fields: Any, **arguments: Any) -> dict[str, Any]:
    """Fields by dotted name, and those that are arguments of their own, which are None where they are not given.

    Raises:
        UserError: `fields` is no mapping, or gives what is an argument as well.
    """
    flat = flatten(fields)
    for name, value in arguments.items():
        if value is None:
            continue
        if name in flat:
            raise UserError(f"{name} is {value!r:.80} and fields[{name!r}] is {flat[name]!r:.80}; allowed: one of them")
        flat[name] = plain(value)
    return flat


@contextlib.contextmanager
def named(**arguments: str) -> Iterator[None]:
    """Let errors speak of arguments instead of flags.

    Args:
        arguments: those fields that are arguments of their own, and what these are called: dataset="data". Others are
            called fields['refine.rate'].
    """
    try:
        yield
    except UserError as error:
        # Changed, and not raised anew, because some have a type and attributes of their own.
        error.args = (speak(str(error), arguments), *error.args[1:])
        raise


def speak(line: str, arguments: Mapping[str, str]) -> str:
    """An error's line as a Python call gives it; `arguments` as in `named`."""

    def rename(found: re.Match[str]) -> str:
        # A path may have a "config.d" in it; an unknown field stands first.
        is_field = found[1] in table() or found.start() == 0 or any(name.startswith(f"{found[1]}.") for name in table())
        return arguments.get(found[1], f"fields[{found[1]!r}]") if is_field else found[0]

    for flag, argument in _FLAGS.items():
        line = line.replace(flag, argument)
    return _FIELD.sub(rename, line)
