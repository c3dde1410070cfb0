"""The command line in the process of the tests."""

import sys
import threading

import pytest

from fsdd import main


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs a command in this process: its exit status, and what it said on both streams."""
    # What the program sets for its process is put back.
    for place, name in ((threading, "excepthook"), (sys, "unraisablehook")):
        monkeypatch.setattr(place, name, getattr(place, name))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fsdd", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.run()
        return ended.value.code, *capsys.readouterr()

    return run
