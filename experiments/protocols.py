"""Table 3's sets, scored as each of FRePo's two codes does.

    python -m experiments.protocols --ipc 1 --data_dir ~/tensorflow_datasets

A cell has the score of its own protocol. The paper's numbers are by the PyTorch code's evaluation: what a set has by
that stands beside them like with like. Writes results/protocols_SCALE.json.
"""

from typing import Any

from experiments import cells, rescored
from fsdd.config import presets

ROWS = tuple(name for name, method in cells.METHODS.items() if "factor" not in method.fields)
WAYS = {
    protocol: {field: value for field, value in presets.PROTOCOLS[protocol].items() if field.startswith("evaluate.")}
    for protocol in ("torch", "jax")
}


def markdown(found: list[dict[str, Any]], dataset: str, ipc: int) -> str:
    """A line a row, a column a protocol."""
    if not found:
        return "Not measured yet."
    lines = ["| row | " + " | ".join(f"scored as the {name} code does" for name in WAYS) + " |", "|---|---|---|"]
    for name in ROWS:
        ours = [rescored.of(found, row=name, dataset=dataset, ipc=ipc, protocol=protocol) for protocol in WAYS]
        if any(ours):
            lines.append(f"| {cells.METHODS[name].title} | " + " | ".join(map(rescored.entry, ours)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    rescored.main("protocols", ROWS, "protocol", WAYS, markdown)
