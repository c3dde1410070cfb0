"""What is refused before JAX starts, and what is not."""

import os
import pathlib
import subprocess
import sys
import tomllib

import pytest

from fsdd.assembly import environment

ROOT = pathlib.Path(__file__).parents[2]
OFF = "--xla_cpu_experimental_ynn_fusion_type="


@pytest.mark.parametrize("version", ["0.8.2", "0.9.0.1", "0.10.1", "0.10.20", "0.11.2", "0.12.0.1", "1.0"])
def test_other_versions_pass(version):
    assert environment.check_versions(version, version, "") is None


@pytest.mark.parametrize(("version", "issue"), [("0.10.2", "39103"), ("0.10.2+cuda13", "39103"), ("0.11.0", "39257")])
def test_bad_versions_are_named_with_what_to_do(version, issue):
    line = environment.check_versions(version, version, "")
    assert line.startswith(f"jax {version} with jaxlib {version} ")
    assert f"JAX issue {issue}" in line and "pip install 'jax>=0.8.2,!=0.10.2,!=0.11.0'" in line
    assert "\n" not in line


def test_no_flag_helps_where_no_fusion_is_at_fault():
    line = environment.check_versions("0.8.1", "0.8.1", OFF)
    assert line is not None and "XLA_FLAGS" not in line


def test_it_is_jaxlib_that_compiles():
    assert environment.check_versions("0.10.1", "0.10.2", "") is not None
    assert environment.check_versions("0.10.2", "0.10.1", "") is None


@pytest.mark.parametrize(
    ("flags", "passes"),
    [
        (OFF, True),
        (f"--xla_force_host_platform_device_count=2 {OFF}", True),
        (f"{OFF}reduce  {OFF}", True),
        (f"{OFF} {OFF}reduce", False),
        (f"{OFF}-reduce", False),
        (OFF.removesuffix("="), True),
        (f"{OFF.removesuffix('=')}_other=", False),
        ("--xla_force_host_platform_device_count=2", False),
    ],
)
def test_the_fusion_that_is_at_fault_may_be_off(flags, passes):
    assert (environment.check_versions("0.10.2", "0.10.2", flags) is None) == passes


def test_windows_is_refused():
    assert environment.check_platform("win32") == "fsdd needs Linux or macOS: array_record and POSIX file locks"
    assert environment.check_platform("linux") is environment.check_platform("darwin") is None


def _refuse(folder: pathlib.Path, *path: str, flags: str = "") -> str:
    """What a fresh process says that asks first and imports JAX only if told to go on."""
    code = (
        "import sys\nfrom fsdd.assembly import environment\nfrom fsdd.errors import UserError\n"
        "try:\n    environment.refuse_known_bad()\nexcept UserError as error:\n    print(error)\n"
        "print('jax' in sys.modules)"
    )
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([*path, str(ROOT)]), "XLA_FLAGS": flags}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_bad_version_that_is_installed_is_refused_without_loading_it(tmp_path):
    """Installed by what importlib finds first: the names and versions of packages without any code."""
    for name in ("jax", "jaxlib"):
        (tmp_path / f"{name}-0.10.2.dist-info").mkdir()
        (tmp_path / f"{name}-0.10.2.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 0.10.2\n")
    line, loaded = _refuse(tmp_path, str(tmp_path)).splitlines()
    assert line == environment.check_versions("0.10.2", "0.10.2", "") and loaded == "False"
    assert _refuse(tmp_path, str(tmp_path), flags=OFF) == "False\n"


def test_pip_is_asked_for_the_same():
    """By every requirement that brings JAX; for a GPU, where more is known, by less."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {f"jax{environment.ALLOWED}", f"jaxlib{environment.ALLOWED}"} <= set(project["dependencies"])
    extras = project["optional-dependencies"]
    assert extras["tpu"] == [f"jax[tpu]{environment.ALLOWED}"]
    assert extras["cuda"][0].startswith(f"jax[cuda13]{environment.ALLOWED}")
