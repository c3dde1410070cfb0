"""What all tests share: a place for compiled programs and fitted whitenings, and seeds that a failure shows."""

import os
import secrets
import tempfile

import hypothesis
import jaxlib.version
import pytest

# Set before JAX is imported, and handed down to the processes that tests start. Most of what these tests take is
# compiling, much of it the same programs again; and no test may use, or write to, the cache in the user's home.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _folder = tempfile.TemporaryDirectory(prefix="fsdd_tests_")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(_folder.name, "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
    os.environ["FSDD_CACHE"] = os.path.join(_folder.name, "cache")
    # Each worker has a core; LAPACK's threads would spin on those of the others.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if "XLA_FLAGS" not in os.environ:
        # Programs of these sizes run in milliseconds, and would compile for ten times as long as this way. `.ci/slow`
        # compiles as users do, and so does the test of JAX's releases. Programs this small compile sooner in one piece.
        # Versions from 0.11 know the last flag no more.
        _flags = ["--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]
        if jaxlib.version.__version_info__ < (0, 11):
            _flags.append("--xla_cpu_use_fusion_emitters=false")
        os.environ["XLA_FLAGS"] = " ".join(_flags)

# A failure ends with the line that repeats it.
hypothesis.settings.register_profile("tests", deadline=None, print_blob=True)
hypothesis.settings.load_profile("tests")

# With several workers, the longest files would end last if they started last.
_FIRST = ("test_killed.py", "test_processes.py", "test_job.py", "test_streams.py", "test_api.py", "test_stages.py")
_FIRST += ("test_architectures.py", "test_pipeline.py", "test_cache.py", "test_lanes.py", "test_augmentation.py")
_FIRST += ("test_paper.py", "test_readme.py", "test_moving.py", "test_translator_training.py")


def pytest_collection_modifyitems(items):
    """Run the longest files first."""
    items.sort(key=lambda item: _FIRST.index(item.path.name) if item.path.name in _FIRST else len(_FIRST))


@pytest.fixture
def seed() -> int:
    """Another number in each run, unless `FSDD_TEST_SEED` names it; pytest shows what is printed here on a failure."""
    number = int(os.environ.get("FSDD_TEST_SEED") or secrets.randbits(32))
    print(f"FSDD_TEST_SEED={number} repeats this test")
    return number
