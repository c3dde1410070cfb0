"""Render the tables of README.md and experiments/README.md from results/*.json; no figure there is typed.

python -m experiments.tables
"""

import json
import pathlib
import re

from experiments import sweep

ROOT = pathlib.Path(__file__).parents[1]


def load(name: str):
    """One result file, or nothing if it has not been measured."""
    path = sweep.RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else []


def runs() -> str:
    """All rows of all sweeps."""
    return sweep.table([row for name in ("one_net", "adaptation", "refine") for row in load(name)])


def commands() -> str:
    """How each row is run on its own."""
    rows = [row for name in ("one_net", "adaptation", "refine") for row in load(name)]
    return "\n".join(f"    {row['command']}" for row in rows)


def precision() -> str:
    """Relative errors of float32."""
    lines = [
        "| initialisation | images | factored | prediction | loss | gradient (images) |",
        "|---|---|---|---|---|---|",
    ]
    for row in (load("precision") or {"rows": []})["rows"]:
        lines.append(
            f"| {row['initialisation']} | {10 * row['ipc']} | {row['factored']} | {row['prediction']:.1e} | "
            f"{row['loss']:.1e} | {row['images']:.1e} |"
        )
    return "\n".join(lines)


def bench() -> str:
    """Seconds a step beside their floor."""
    found = load("bench")
    lines = ["| step | ms, dispatched singly | ms, in scan | floor (ms) |", "|---|---|---|---|"]
    for row in found["rows"] if found else []:
        many = f"{1e3 * row['in_scan']:.0f}" if "in_scan" in row else ""
        lines.append(f"| {row['step']} | {1e3 * row['seconds']:.0f} | {many} | {1e3 * row['floor']:.0f} |")
    rate = f"Floor: FLOPs over {found['convolution_flops'] / 1e9:.0f} GFLOP/s, this machine's own." if found else ""
    return "\n".join([*lines, "", rate])


def caching() -> str:
    """What the cached subsets of experiments/caching.py took, and their losses."""
    found = load("caching")
    if not found:
        return ""
    subsets, seconds = found["subsets"], found["wall_seconds"]
    lines = [
        f"{len(subsets)} subsets in {seconds:.0f} s, {found['compile_seconds']:.0f} s of it compiling: "
        f"{len(subsets) / seconds:.3f} a second. Floor: {found['floor_seconds']:.0f} s, the FLOPs of their images over "
        f"{found['convolution_flops'] / 1e9:.0f} GFLOP/s, this machine's own.",
        "",
        "| subset | classes | real images | synthetic | NFR loss before | after |",
        "|---|---|---|---|---|---|",
    ]
    for one in subsets:
        lines.append(
            f"| {one['index']} | {one['classes']} | {one['images']} | {one['synthetic']} | {one['before']:.3f} | "
            f"{one['after']:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Replace what stands between `<!-- NAME -->` and `<!-- end -->` in both pages."""
    for page in (ROOT / "README.md", ROOT / "experiments" / "README.md"):
        text = page.read_text()
        for function in (runs, commands, precision, bench, caching):
            pattern = rf"(<!-- {function.__name__} -->\n).*?(<!-- end -->)"
            text = re.sub(pattern, lambda m, f=function: f"{m[1]}{f()}\n{m[2]}", text, flags=re.DOTALL)
        page.write_text(text)


if __name__ == "__main__":
    main()
