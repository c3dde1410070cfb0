"""What fsdd needs of the machine: POSIX locks, a JAX that computes right, and a cache of compiled programs.

Nothing here imports JAX before it is found good: a release that crashes must not be loaded to be refused.
"""

import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import sys
from collections.abc import Iterator

from fsdd.errors import UserError, one_line
from fsdd.io import user_cache
from fsdd.io.digests import digest_json

_FLAG = "--xla_cpu_experimental_ynn_fusion_type"
# What pyproject.toml asks of jax and of jaxlib, and what is wrong on CPU with releases of jaxlib, which compiles, that
# this leaves out.
ALLOWED = ">=0.8.2,!=0.10.2,!=0.11.0"
KNOWN_BAD = {
    "0.8.1": "gets products of matrices of a thousand rows outside of jit wrong on CPU, now and then",
    "0.10.2": "gets products followed by sums of many rows wrong on CPU, by 0.2 % and without a word (JAX issue 39103)",
    "0.11.0": "crashes or hangs on CPU in sums of arrays of eight axes (JAX issue 39257)",
}
# Those of them that are right with the fusion switched off.
_BY_FUSION = {"0.10.2", "0.11.0"}
# Programs that take less to compile are not worth a file.
_COMPILE_SECONDS = 0.2
_MOST_BYTES = 2 * 10**9


@functools.cache
def prepare() -> None:
    """Make this process ready to compute; done once.

    Raises:
        UserError: results would be wrong here, or none.
    """
    refuse_known_bad()
    keep_programs()
    find_devices()


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """`prepare`, and single precision until the end: JAX_ENABLE_X64, which a program may need, changes no result.

    Raises:
        UserError: as `prepare`.
    """
    prepare()
    import jax

    with jax.enable_x64(False):
        yield


def compute_in_single_precision() -> None:
    """Have this process compute so, in all of its threads."""
    import jax

    jax.config.update("jax_enable_x64", False)


def find_devices() -> None:
    """Start JAX's backend, which the processes of a job must have joined before.

    Raises:
        UserError: JAX_PLATFORMS, or what is installed, asks for devices that are not there.
    """
    import jax

    try:
        jax.devices()
    # A bare AssertionError is what comes of JAX_PLATFORMS=cuda where the plugin is not installed.
    except (RuntimeError, AssertionError) as error:
        asked = jax.config.jax_platforms
        reason = f": {one_line(error)}" if str(error) else ""
        raise UserError(
            f"JAX_PLATFORMS is {asked!r}, and JAX finds no such device{reason}; allowed: cpu, or what is installed here"
        ) from error


def check_versions(jax_version: str, jaxlib_version: str, xla_flags: str) -> str | None:
    """What is wrong with an installed JAX, and what to do about it, as one line; None where nothing is known.

    Args:
        jax_version: of the package `jax`.
        jaxlib_version: of the package `jaxlib`; what is known is about this one, which compiles.
        xla_flags: the environment variable XLA_FLAGS, which may switch off the fusion that is at fault.
    """
    wrong = KNOWN_BAD.get(_release(jaxlib_version))
    fused = _release(jaxlib_version) in _BY_FUSION
    if wrong is None or (fused and _fusion_is_off(xla_flags)):
        return None
    without = f", or add {_FLAG}= (with nothing behind it) to XLA_FLAGS" if fused else ""
    return (
        f"jax {jax_version} with jaxlib {jaxlib_version} {wrong}; install another, pip install 'jax{ALLOWED}'{without}"
    )


def check_platform(system: str) -> str | None:
    """Why fsdd cannot run on a platform, named as in `sys.platform`, as one line; None where it can."""
    return "fsdd needs Linux or macOS: array_record and POSIX file locks" if system == "win32" else None


def refuse_known_bad() -> None:
    """Stop here on a machine, or with a JAX, on which results would be wrong or none; call it before JAX is imported.

    Raises:
        UserError: what is wrong and what to do. Versions that cannot be found out pass.
    """
    versions = [_installed(name) for name in ("jax", "jaxlib")]
    wrong = check_platform(sys.platform)
    if wrong is None and None not in versions:
        wrong = check_versions(*versions, os.environ.get("XLA_FLAGS", ""))
    if wrong is not None:
        raise UserError(wrong)


def keep_programs() -> None:
    """Let JAX keep compiled programs in the user's cache, unless it was told of another folder or the cache is off."""
    import jax  # takes seconds, for which a bad flag need not wait

    place = user_cache.folder()
    if place is None or jax.config.jax_compilation_cache_dir is not None:
        return
    place = place / "programs" / _processor()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(place, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(place))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _COMPILE_SECONDS)
    if importlib.util.find_spec("filelock"):
        # Without it JAX could keep no program at all in a cache of limited size.
        jax.config.update("jax_compilation_cache_max_size", _MOST_BYTES)


def _processor() -> str:
    """A name for processors that run each other's programs: homes may be shared by hosts that do not."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine() or "unknown"
    told = [line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))]
    return f"{platform.machine()}-{digest_json(sorted(set(told)))[:8]}"


def _release(version: str) -> str:
    """A version without what a builder of his own appends: 0.10.2+cuda is a 0.10.2."""
    return version.partition("+")[0]


def _fusion_is_off(xla_flags: str) -> bool:
    """Whether the last word on it in XLA_FLAGS is an empty list of what to fuse."""
    values = [value for name, _, value in (word.partition("=") for word in xla_flags.split()) if name == _FLAG]
    return bool(values) and not values[-1]


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
