"""A few programs in processes of their own, under flags of XLA."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from experiments.benchmarks.engine import distil, evaluate
from experiments.benchmarks.engine.bench import Bench, Case, explain
from experiments.benchmarks.engine.parts import Parts

# jaxlib 0.11.2 takes all of these; it refuses flags, and kinds of commands, that it does not know.
FLAGS = {
    "none": "",
    "loops and convolutions as graphs": "--xla_gpu_enable_command_buffer=+WHILE,+CONVOLUTION "
    "--xla_gpu_graph_min_graph_size=1",
    "graphs of any size": "--xla_gpu_graph_min_graph_size=1",
    "convolutions as graphs": "--xla_gpu_enable_command_buffer=+CONVOLUTION --xla_gpu_graph_min_graph_size=1",
    "no Triton products": "--xla_gpu_enable_triton_gemm=false",
    "convolution fusions": "--xla_gpu_experimental_enable_conv_fusion=true",
    "no autotuning": "--xla_gpu_autotune_level=0",
    "latency hiding": "--xla_gpu_enable_latency_hiding_scheduler=true",
}
# Seconds for a child, at most and at least, and those until it counts.
_TIMEOUT, _SHORTEST, _START = 45, 20, 8


def cases(parts: Parts) -> list[Case]:
    """What a child measures."""
    sizes = parts.sizes.images
    return [*(distil.case(parts, size, "float32") for size in sizes[:2]), evaluate.case(parts, sizes[0])]


def run(bench: Bench, smoke: bool) -> None:
    """One child after another, as far as the deadline allows."""
    for name, flags in list(FLAGS.items())[: 2 if smoke else None]:
        left = min(_TIMEOUT, bench.left() - 2)
        if left < _SHORTEST:
            bench.add({"group": "flags", "name": name, "error": "deadline"})
            continue
        try:
            for row in _child(flags, left, smoke):
                bench.add({**row, "group": "flags", "name": f"{name}: {row['name']}", "flags": flags})
        except Exception as error:
            bench.add({"group": "flags", "name": name, "flags": flags, "error": explain(error)})
        bench.write()


def _child(flags: str, seconds: float, smoke: bool) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "child.json"
        command = [sys.executable, "-m", "experiments.benchmarks.engine", "--only", "flags_child", "--out", str(out)]
        command += ["--seconds", str(seconds - _START), *["--smoke"] * smoke]
        # Not a blank alone, which XLA takes for the name of a file.
        extra = {
            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip(),
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        }
        done = subprocess.run(command, env=os.environ | extra, capture_output=True, text=True, timeout=seconds)
        if not out.exists():
            raise RuntimeError(f"exit status {done.returncode}: {done.stderr[-250:]}")
        return json.loads(out.read_text())["rows"]
