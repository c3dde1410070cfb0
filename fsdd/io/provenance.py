"""What made a result: versions, commit, device, time."""

import datetime
import functools
import importlib.metadata
import os
import pathlib
import platform
import subprocess

import jax

_PACKAGES = ("fsdd", "jax", "jaxlib", "flax", "optax", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures depend on."""
    return {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def device() -> str:
    """The devices that this process computes on."""
    devices = jax.devices()
    kind = devices[0].device_kind if devices[0].platform != "cpu" else f"CPU ({_cores()} cores)"
    return kind if len(devices) == 1 else f"{len(devices)} x {kind}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def commit() -> str | None:
    """The commit that this source stands at, "+" behind it if files differ from it; None outside a clone of it."""
    here = pathlib.Path(__file__).resolve().parent
    asked = (
        ("rev-parse", "--show-toplevel"),
        ("rev-parse", "--short=12", "HEAD"),
        ("status", "--porcelain", "--", "."),
    )
    try:
        top, head, changed = (
            subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=10).stdout
            for words in asked
        )
    except (OSError, subprocess.SubprocessError):
        return None
    # Installed, the source may lie within a repository of someone else's.
    return head.strip() + "+" * bool(changed.strip()) if pathlib.Path(top.strip()) == here.parent else None


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def summary() -> dict:
    """Versions, commit, device and time, as results carry them."""
    return {"device": device(), "versions": versions(), "commit": commit(), "finished": now()}
