"""Export a stored set for another tool.

    python -m fsdd.export RUN --format=FORMAT [--out=FOLDER]

RUN        the folder of a run, or a .npz file of a stored set
--format   {formats}
--out      the folder to write; by default RUN/exports/FORMAT

`fsdd.export(run_or_set, format, path)` does the same in Python: also where this module has been imported, because it
can be called.
"""

import argparse
import sys
import types
from typing import Any

from fsdd.errors import UserError, one_line
from fsdd.exports import writing


class _Parser(argparse.ArgumentParser):
    """One that raises what is wrong."""

    def error(self, message: str) -> None:
        raise UserError(f"{message} (see --help)")


def main(argv: list[str]) -> int:
    """Do what arguments ask for; the exit status is 0, or 2 with one line on standard error for what can be mended."""
    parser = _Parser(prog="python -m fsdd.export", add_help=False)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--format", required=True)
    parser.add_argument("--out")
    if {"--help", "-h"} & set(argv):
        lines = "\n           ".join(f"{name}: {title}" for name, title in writing.formats().items())
        print(str(__doc__).format(formats=lines))
        return 0
    try:
        given = parser.parse_args(argv)
        print(f"exported to {writing.export(given.run, given.format, given.out)}")
    except UserError as error:
        print(f"fsdd: {one_line(error)}", file=sys.stderr)
        return 2
    return 0


class _Callable(types.ModuleType):
    """A module that is called as the function of its name: importing it puts it in the function's place."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return writing.export(*arguments, **named)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
sys.modules[__name__].__class__ = _Callable
