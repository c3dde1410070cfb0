"""What made a result: versions, device, time."""

import datetime
import importlib.metadata
import os
import platform

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


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def summary() -> dict:
    """Versions, device and time, as results carry them."""
    return {"device": device(), "versions": versions(), "finished": now()}
