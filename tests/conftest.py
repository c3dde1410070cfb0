"""What all tests share: programs compiled once, for the tests' own processes and those that they start."""

import os
import tempfile

# Set before JAX is imported. Most of what these tests take is compiling, much of it the same programs again.
_folder = tempfile.TemporaryDirectory(prefix="fsdd_compiled")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _folder.name)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")

# Whole runs in processes of their own, minutes each: with several workers, those who start last would end last.
_FIRST = ("test_killed.py", "test_pretrain_jobs.py")


def pytest_collection_modifyitems(items):
    """Run the longest files first."""
    items.sort(key=lambda item: _FIRST.index(item.path.name) if item.path.name in _FIRST else len(_FIRST))
