"""The command line.

    python -m fsdd.main --config=configs/NAME.py [--config.FIELD=VALUE ...] [--workdir=FOLDER] [--stage=STAGE]
    python -m fsdd.main --inspect=FOLDER

--config         a Python file whose get_config() returns the config, or the name of one in configs/: quickstart
--config.FIELD   another value for a field, such as --config.ipc=10; all fields are listed below
--workdir        where the run leaves everything; default runs/<name of the config file>
--stage          run one stage of a config that pre-trains
--inspect        look at the cached subsets of a workdir; exit status 1 if any of them is damaged

For several processes that share a workdir, on one host or many:

--distributed    find the other processes as JAX does, under SLURM, Open MPI, Kubernetes or on a TPU pod
--coordinator    or name one process's HOST:PORT, and with
--processes      how many there are, and
--process        which one this is, from 0

FSDD_DEBUG=1 shows the traceback of an error; FSDD_CACHE names the folder of the user's cache, or is off.
"""

import dataclasses
import importlib.machinery
import importlib.util
import logging
import os
import pathlib
import re
import sys
import threading
import traceback
from typing import Any

import absl.logging
import ml_collections
from absl import flags
from ml_collections import config_flags

from fsdd.errors import UserError, one_line
from fsdd.io import paths

_FLAGS = ("config", "workdir", "stage", "inspect", "coordinator")
_KNOWN = "--config=FILE, --config.FIELD=VALUE, --workdir=FOLDER and what --help shows"


@dataclasses.dataclass(frozen=True)
class Command:
    """What the command line asks for.

    Attributes:
        config: with the values given by flags.
        workdir: where the run leaves everything.
        stage: the one stage to run, or None for those of the config.
        processes: what `fsdd.pretraining.hosts.connect` takes, or None where there is one process.
    """

    config: ml_collections.ConfigDict
    workdir: pathlib.Path
    stage: str | None = None
    processes: dict[str, Any] | None = None


def run() -> None:
    """Entry point: 0 when done, 2 with one line on standard error for what a person can mend."""
    debugged = bool(os.environ.get("FSDD_DEBUG"))
    if not debugged:
        _silence_libraries()
    try:
        sys.exit(_run(sys.argv))
    except BrokenPipeError:
        # Whoever read what we print has seen enough.
        os._exit(0)
    except (UserError, OSError, MemoryError, RuntimeError, KeyboardInterrupt) as error:
        line = _describe(error)
        if line is None:
            raise
        if debugged:
            traceback.print_exc()
        print(f"fsdd: {line}", file=sys.stderr)
        sys.exit(130 if isinstance(error, KeyboardInterrupt) else 2)


def _run(argv: list[str]) -> int:
    """Do what the command line asks for; the exit status."""
    if any(argument in ("--help", "-h", "-help") for argument in argv[1:]):
        from fsdd.config import reference

        print(__doc__)
        print(reference.as_text())
        return 0
    command = parse(argv)
    # Imported below because it takes seconds, which a mistyped flag need not wait for.
    if isinstance(command, pathlib.Path):
        from fsdd.pretraining import inspection

        return 0 if inspection.inspect(command) else 1
    from fsdd import config as configs
    from fsdd.assembly import environment

    environment.refuse_known_bad()
    if command.processes is not None:
        from fsdd.pretraining import hosts

        # Before anything asks JAX for its devices, as completing a config does.
        hosts.connect(**command.processes)
    environment.find_devices()
    environment.compute_in_single_precision()
    config = configs.resolve(command.config)
    from fsdd import api
    from fsdd.io import report

    results = api.run(config, command.workdir, command.stage)
    print("\n".join(report.describe(results, command.workdir)))
    return 0


def _describe(error: BaseException) -> str | None:
    """One line on what a person can mend, or None for a fault of the program."""
    if isinstance(error, UserError):
        return " ".join(str(error).splitlines())
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror or error}"
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; the same command goes on from the last checkpoint"
    # A RuntimeError of this kind is JAX's, of a device.
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return (
            "out of memory; lower config.image_size, the group of a stage, or of config.compute chunk, "
            "networks_at_once or lane_images"
        )
    return None


def _silence_libraries() -> None:
    """Silence the logs of libraries, and the duplicate errors of their threads: those are raised here, too."""
    absl.logging.set_verbosity(absl.logging.FATAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    threading.excepthook = sys.unraisablehook = lambda _: None


def parse(argv: list[str]) -> Command | pathlib.Path:
    """What to do: a command, or the workdir to inspect.

    Args:
        argv: the program's name and its arguments.

    Raises:
        UserError: a bad flag or a bad config file. The values of fields are checked later, by `fsdd.config.resolve`.
    """
    known = flags.FlagValues()
    for name in _FLAGS:
        flags.DEFINE_string(name, None, "", flag_values=known)
    flags.DEFINE_boolean("distributed", False, "", flag_values=known)
    for name in ("processes", "process"):
        flags.DEFINE_integer(name, None, "", lower_bound=0, flag_values=known)
    known.set_gnu_getopt(True)
    for argument in argv[1:]:
        if argument.lstrip("-").partition("=")[0] in ("flagfile", "undefok") and argument.startswith("-"):
            # absl knows them for every program; a config file says more, and is checked.
            raise UserError(f"{argument.partition('=')[0]} is unknown; allowed: {_KNOWN}")
    try:
        rest = _join_values(known(argv, known_only=True)[1:])
    except flags.Error as error:
        raise UserError(f"{one_line(error)} (see --help)") from error
    _check_flags(rest)
    if known.inspect is not None:
        return paths.expand(known.inspect, "--inspect")
    if known.config is None:
        raise UserError("--config is missing; allowed: a config file such as configs/quickstart.py")
    path = _locate(known.config)
    config = _override(_read(path), rest)
    workdir = paths.expand(known.workdir or pathlib.Path("runs") / path.stem, "--workdir")
    return Command(config, workdir, known.stage, _processes(known))


def _processes(known: flags.FlagValues) -> dict[str, Any] | None:
    """What `fsdd.pretraining.hosts.connect` takes, where any flag asks for several processes."""
    explicit = {"coordinator": known.coordinator, "processes": known.processes, "process": known.process}
    given = [name for name, value in explicit.items() if value is not None]
    if known.distributed and given:
        raise UserError(f"--distributed and --{given[0]} exclude each other: the first finds what the second says")
    for name, value in explicit.items():
        if given and value is None:
            raise UserError(f"--{name} is missing; --coordinator, --processes and --process are needed together")
    if given and not re.fullmatch(r"[^\s:]+:\d{1,5}|\[[^\s\]]+\]:\d{1,5}", known.coordinator):
        raise UserError(f"--coordinator is {known.coordinator!r}; allowed: HOST:PORT, such as node0:1234")
    if given and not known.process < known.processes:
        raise UserError(f"--process is {known.process}; allowed: 0 to {known.processes - 1}, below --processes")
    return explicit if given else {} if known.distributed else None


def _check_flags(arguments: list[str]) -> None:
    for argument in arguments:
        if not argument.lstrip("-").startswith(("config.", "noconfig.")) or not argument.startswith("-"):
            raise UserError(f"{argument!r} is unknown; allowed: {_KNOWN}")


def _locate(given: str) -> pathlib.Path:
    """The config file that is meant: one that is there, or one that comes with the package, by its name."""
    path = paths.expand(given, "--config")
    if path.is_file():
        return path
    package = importlib.util.find_spec("fsdd.configs")
    folders = package.submodule_search_locations if package else ()
    packaged = {file.stem: file for folder in folders for file in pathlib.Path(folder).glob("[!_]*.py")}
    if given not in packaged:
        raise UserError(
            f"--config is {given!r}, which is no file; allowed: a config file, or {', '.join(sorted(packaged))}"
        )
    return packaged[given]


def _read(path: pathlib.Path) -> ml_collections.ConfigDict:
    """What get_config() of a Python file returns; whatever goes wrong in the file becomes one line."""
    loader = importlib.machinery.SourceFileLoader("config_file", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("config_file", loader))
    try:
        loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise UserError(f"--config is {str(path)!r}, which has no get_config(); see configs/quickstart.py")
        config = module.get_config()
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        place = f"{path}, line {lines[-1]}" if lines else str(path)
        raise UserError(f"{place}: {type(error).__name__}: {one_line(error)}") from error
    if not isinstance(config, ml_collections.ConfigDict):
        raise UserError(
            f"{path}: get_config() returns a {type(config).__name__}; allowed: the ConfigDict of fsdd.config.default()"
        )
    return config


def _override(config: ml_collections.ConfigDict, arguments: list[str]) -> ml_collections.ConfigDict:
    """Apply `--config.FIELD=VALUE` arguments."""
    from fsdd import config as configs

    names = [_field_of(argument) for argument in arguments]
    for name in names:
        if name not in configs.table():
            raise configs.unknown_field(name)
    if "method" in names and "stages" not in names:
        # Whoever names a method wants its stages, and not those of the file.
        config.stages = None
    values, argv = flags.FlagValues(), ["fsdd", *arguments]
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
        values(argv)
    except Exception as error:  # ml_collections lets through what the parsers of values raise
        raise _explain(error) from error
    config = values.config
    if "method" in names and "evaluate.stages" not in names:
        # Of the sets that the file scores, those that the method makes.
        made = ("start", *configs.methods().get(config.method, ()))
        scored = tuple(name for name in config.evaluate.stages if name.partition("@")[0] in made)
        config.evaluate.stages = scored
    return config


def _explain(error: Exception) -> UserError:
    """What a parser of values found wrong, in the words of the table of fields where it says of which field."""
    from fsdd import config as configs

    found = re.search(r"--(?:no)?config\.([\w.]+)=(.*?): ", one_line(error))
    if found is None or found[1] not in configs.table():
        return UserError(f"{one_line(error)} (--help lists the fields and what they may be)")
    return UserError(f"config.{found[1]} is {found[2]!r}; allowed: {configs.table()[found[1]].values.words}")


def _field_of(argument: str) -> str:
    """The field that an argument names: `--config.ipc=5`, `--noconfig.mirror`."""
    return argument.lstrip("-").split("=")[0].partition("config.")[2]


def _join_values(arguments: list[str]) -> list[str]:
    """`--config.FIELD VALUE` as `--config.FIELD=VALUE`."""
    joined: list[str] = []
    for argument in arguments:
        if joined and not argument.startswith("-") and joined[-1].startswith("-") and "=" not in joined[-1]:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


if __name__ == "__main__":
    run()
