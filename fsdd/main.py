"""The command line: `python -m fsdd.main --config=configs/NAME.py [--config.field=value ...] [--workdir=FOLDER]`."""

import pathlib
import sys

from absl import flags
from ml_collections import config_flags

from fsdd import pipeline
from fsdd.errors import UserError

_CONFIG = config_flags.DEFINE_config_file("config", help_string="a file with get_config(); configs/ has some")
_WORKDIR = flags.DEFINE_string("workdir", None, "where the run leaves everything; default runs/<config name>")


def run() -> None:
    """Entry point: 0 when done, 2 with one line on standard error for what a person can mend."""
    try:
        config, folder = _parse(sys.argv)
        report(pipeline.run(config, folder), folder)
    except UserError as error:
        print(f"fsdd: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"fsdd: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("fsdd: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)


def _parse(argv: list[str]):
    """The config and the workdir; whatever is wrong with a flag or a config file becomes one line."""
    if any(argument in ("--help", "-h", "-help") for argument in argv[1:]):
        print(__doc__ + "\n" + flags.FLAGS.module_help("fsdd.main"))
        sys.exit(0)
    try:
        rest = flags.FLAGS(argv)
    except Exception as error:
        line = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{line[:300]} (see --help, and fsdd/config.py for the fields)") from error
    if rest[1:]:
        raise UserError(f"{rest[1]!r} is not a flag; allowed: --config, --config.<field>, --workdir")
    if _CONFIG.value is None:
        raise UserError("--config is missing; allowed: a config file such as configs/quickstart.py")
    name = pathlib.Path(flags.FLAGS["config"].config_filename).stem
    return _CONFIG.value, pathlib.Path(_WORKDIR.value or pathlib.Path("runs") / name).expanduser()


def report(results: dict, folder: pathlib.Path) -> None:
    """Print what a run gave, and where it is."""
    for stage, result in results["stages"].items():
        print(
            f"{stage:10s} {result['steps']:6d} steps, {result['networks']} networks, {result['wall_seconds']:.0f} s "
            f"(compiling {result['compile_seconds']:.0f} s), NFR loss {result['last']['nfr']:.4f}"
        )
    for result in results["evaluations"]:
        print(
            f"accuracy of {result['stage']}: {result['mean']:.2f} +- {result['std']:.2f} % ({result['networks']} x "
            f"{result['architecture']} of width {result['width']}, {result['steps']} steps)"
        )
    print(f"stored {folder / 'synthetic.npz'}; look at {folder / 'synthetic.png'}")


if __name__ == "__main__":
    run()
