"""Measure."""

import argparse
import os
import pathlib
import sys

import threadpoolctl

from experiments.benchmarks.engine import distil, evaluate, features, flags, fresh, head, rates, steps
from experiments.benchmarks.engine.bench import Bench
from experiments.benchmarks.engine.parts import SMOKE, Parts, Sizes

# Groups whose programs are compiled at once.
_WAVES = (
    {"rates": rates, "features": features, "head": head},
    {"distil": distil, "fresh": fresh, "evaluate": evaluate},
    {"steps": steps},
    {"flags_child": flags},
)
_NAMES = [name for wave in _WAVES for name in wave] + ["flags"]


def main() -> None:
    """All groups but that of the children, or those that are named, in their order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=float, default=170)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument(
        "--match", nargs="+", default=(), metavar="PATTERN", help="only rows that fit one of these, * for any text"
    )
    parser.add_argument("--only", nargs="+", choices=_NAMES, default=[n for n in _NAMES if n != "flags_child"])
    arguments = parser.parse_args()
    bench = Bench(arguments.out, arguments.seconds, arguments.smoke, arguments.match)
    parts = Parts(SMOKE if arguments.smoke else Sizes())
    with threadpoolctl.threadpool_limits(1 if arguments.smoke else None, "blas"):
        for wave in _WAVES:
            wanted = {name: module for name, module in wave.items() if name in arguments.only}
            if wanted:
                bench.run({name: lambda module=module: module.cases(parts) for name, module in wanted.items()})
    if "flags" in arguments.only:
        flags.run(bench, arguments.smoke)
    bench.write()
    sys.stdout.flush()
    # Threads that still compile must not be waited for.
    os._exit(0)


if __name__ == "__main__":
    main()
