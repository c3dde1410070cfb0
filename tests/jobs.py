"""Whole commands as processes of their own, for tests of devices, jobs and kills."""

import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[1]
KILLS = int(os.environ.get("FSDD_KILLS", "1"))


def start(flags: list[str], workdir: pathlib.Path, devices: int = 1) -> subprocess.Popen:
    """`python -m fsdd.main` with so many CPU devices."""
    command = [sys.executable, "-m", "fsdd.main", *flags, f"--workdir={workdir}"]
    flags_of_xla = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags_of_xla.strip()}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(*processes: subprocess.Popen) -> str:
    """Wait for processes, all of which have to succeed; what they said."""
    said = [process.communicate(timeout=600)[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(said)
    return "\n".join(said)


def members(count: int) -> list[list[str]]:
    """The flags of each process of one job on this host."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    return [[f"--coordinator={address}", f"--processes={count}", f"--process={index}"] for index in range(count)]


def kill(process: subprocess.Popen, begun: pathlib.Path, longest: float) -> bool:
    """SIGKILL a process at a random moment after a file is there; whether it was still running."""
    while process.poll() is None and not begun.is_file():
        time.sleep(0.02)
    delay = random.Random(time.time_ns()).uniform(0, longest)
    # pytest shows it on a failure.
    print(f"to be killed {delay:.3f} s after {begun.name}")
    time.sleep(delay)
    running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return running
