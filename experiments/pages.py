"""Bring the pages up to date with `results/*.json`: their tables, and every figure in a sentence.

    python -m experiments.pages

A table stands between `<!-- NAME -->` and `<!-- end -->`, NAME one of `TABLES`. A figure in a sentence has its source
behind it, as `37.3 ± 1.0<!--one_net/one_net_best_seed0-->`; `experiments.records.figure` says what a source may be.
"""

import re

from experiments import cells, records
from experiments.benchmarks import caching, convolutions, factoring, halves, iterations, memory, precision, steps
from experiments.benchmarks.engine import bench
from experiments.paper import figure4c, figure5, table2, table3, table4
from experiments.studies import calibration, pretraining, recipes, scale, side_by_side, sweeps, tones, unseen

_SWEEPS = ("one_net", "adaptation", "refine")

TABLES = {
    "headline": table3.headline,
    "table2": lambda: table2.markdown("cpu", cells.load("cpu")),
    "table2_paper": lambda: table2.markdown("paper", cells.load("paper")),
    "iterations": lambda: iterations.markdown(records.load("iterations_cpu")),
    "table3": lambda: table3.markdown("cpu", cells.load("cpu")),
    "table3_paper": lambda: table3.markdown("paper", cells.load("paper")),
    "table4": lambda: table4.render("cpu"),
    "table4_paper": lambda: table4.render("paper"),
    "figure4c": lambda: figure4c.markdown(records.load("figure4c_cpu")),
    "figure5": lambda: figure5.markdown(records.load("figure5_cpu")),
    "sweeps": lambda: sweeps.markdown([row for name in _SWEEPS for row in records.load(name)]),
    "frontier": sweeps.frontier_table,
    "budgets": sweeps.budgets_table,
    "recipes": recipes.markdown,
    "recipe_scores": recipes.score_table,
    "calibration": calibration.markdown,
    "plain": sweeps.plain_table,
    "unseen": unseen.markdown,
    "scale": scale.markdown,
    "side_by_side_ipc1": lambda: side_by_side.markdown(1),
    "side_by_side_ipc10": lambda: side_by_side.markdown(10),
    "tones": lambda: "\n\n".join(filter(None, map(tones.markdown, (1, 10)))),
    "pretraining": pretraining.markdown,
    "tiny_imagenet32": lambda: pretraining.learning_curve("tiny_imagenet32", 500),
    "tiny_imagenet32_torch": lambda: pretraining.learning_curve("tiny_imagenet32_torch", 1000),
    "steps": steps.markdown,
    "engine": bench.markdown,
    "convolutions": convolutions.markdown,
    "factoring": factoring.markdown,
    "memory": memory.markdown,
    "unrolled": memory.unrolled_table,
    "trajectories": memory.trajectories_table,
    "precision": precision.markdown,
    "halves": halves.markdown,
    "caching": caching.markdown,
}
_HERE = records.ROOT / "experiments"
PAGES = (
    records.ROOT / "README.md",
    *(_HERE / place for place in ("README.md", "studies/README.md", "studies/recipes.md", "results/README.md")),
)
_FIGURE = re.compile(r"[-+]?\d[\d,.]*(?: ± \d[\d.]*)?(?: \(1 network\))?<!--(\w[^<>]*/[^<>]*)-->")


def render(text: str) -> str:
    """A page with its tables and figures made anew."""
    for name, table in TABLES.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda found, table=table: f"{found[1]}{table()}\n{found[2]}", text, flags=re.DOTALL)
    return _FIGURE.sub(lambda found: f"{records.figure(found[1])}<!--{found[1]}-->", text)


def update() -> None:
    """Write all pages."""
    for page in PAGES:
        page.write_text(render(page.read_text()))


if __name__ == "__main__":
    update()
