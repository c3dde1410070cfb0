"""What a process needs before it computes: a JAX that computes right, and the cache of compiled programs."""

import functools
import importlib.util
import os
import pathlib
import platform

from fsdd.io import user_cache
from fsdd.io.digests import digest_json

# Programs that take less to compile are not worth a file.
_COMPILE_SECONDS = 0.2
_MOST_BYTES = 2 * 10**9


@functools.cache
def prepare() -> None:
    """Make this process ready to compute; done once.

    Raises:
        UserError: this JAX, or this system, is known to give wrong results or none.
    """
    keep_programs()


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
