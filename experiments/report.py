"""One page of all that was measured: every table, figure and picture, and the run behind each number.

    python -m experiments.report

Writes results/report.html, a single file that needs no network: pictures are inside it.
"""

import base64
import html
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import markdown

from experiments import cells, sweep, tables
from fsdd.io.atomic import replacing

OUT = sweep.RESULTS / "report.html"


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        title: its heading.
        text: what stands under it, Markdown.
        table: renders a Markdown table, or nothing.
        pictures: PNGs of results/ that belong here; those that are not there are counted as missing.
        runs: results with a command each, listed below.
    """

    title: str
    text: str
    table: Callable[[], str] | None = None
    pictures: tuple[str, ...] = ()
    runs: Callable[[], list[dict[str, Any]]] = list


def sections() -> list[Section]:
    """All parts, in order."""
    return [*_of_the_paper(), *_of_our_own()]


def _of_the_paper() -> list[Section]:
    """Its tables and figures."""
    recorded = list(cells.load("cpu").values())
    return [
        Section(
            "Table 3: the ablation",
            "Accuracy of ConvNets trained from scratch on the set, and in brackets the seconds of distilling; beside "
            "them the paper's. Scale `cpu`: what 2 cores do in minutes a cell (`experiments/cells.py`).",
            tables.table3,
            ("table3_cpu_cifar10_ipc1.png",),
            lambda: recorded,
        ),
        Section(
            "Table 3's sets, scored as FRePo's codes do",
            "The paper's numbers are by the PyTorch code's evaluation.",
            tables.protocols,
            (),
            lambda: tables.load("protocols_cpu"),
        ),
        Section("Sets for plain images", "", tables.plain, (), lambda: tables.load("plain")),
        Section(
            "Table 3 at the paper's scale",
            "The PyTorch code's protocol, T = 3,000 (4,000 for `1 Net`), a fresh network each of 1,000 steps of "
            "adaptation; seconds on a GPU that other rows shared.",
            tables.table3_paper,
            ("table3_paper_cifar10_ipc1.png", "table3_paper_cifar10_ipc10.png"),
            lambda: list(cells.load("paper").values()),
        ),
        Section("Table 2: accuracy and time", "", tables.table2),
        Section("Table 4: other architectures", "", tables.table4, (), lambda: tables.load("table4_cpu")),
        Section("Table 4 at the paper's scale", "", tables.table4_paper, (), lambda: tables.load("table4_paper")),
        Section(
            "Fig. 1d: networks used",
            "CIFAR-10, one image a class; the networks that real images passed through.",
            None,
            ("figure1d_cpu_cifar10_ipc1.png",),
        ),
        Section("Fig. 3: the images of each class on their way", "", None, ("figure3_cpu_cifar10_ipc1.png",)),
        Section(
            "Fig. 4: adaptation",
            "Loss and ridge accuracy in the networks of adaptation, from three starts; then a translator adapted at "
            "some numbers of images a class, on sets of others.",
            tables.figure4c,
            ("figure4_nfr_cpu_cifar10_ipc1.png", "figure4_accuracy_cpu_cifar10_ipc1.png", "figure4c_cpu.png"),
        ),
        Section("Fig. 5: continual learning", "", tables.figure5, ("figure5_cpu.png",)),
    ]


def _of_our_own() -> list[Section]:
    """What else was measured."""
    return [
        Section(
            "One network, refinement and translation, at T of thousands",
            "Rows of earlier sweeps; `refine_*` start from `one_net_best_seed0`.",
            tables.runs,
            ("refine.png", "cifar10_ipc1.png"),
            lambda: [row for name in tables.SWEEPS for row in tables.load(name)],
        ),
        Section(
            "Refinement: networks, their uses, their real images, and the start",
            "On validation images: a tenth of the training split.",
            tables.frontier,
            (),
            lambda: tables.load("frontier"),
        ),
        Section(
            "Refinement over networks that had learned the set",
            "On validation images; a way that was given up.",
            tables.taught,
            (),
            lambda: tables.load("taught"),
        ),
        Section("The translator that 2 cores made", "How it learned.", tables.shipped),
        Section("The translator that a GPU made", "How it learned.", tables.shipped_torch),
        Section("Where pre-training starts, and how it spends its work", "", tables.pretraining, ("pretraining.png",)),
        Section(
            "Does it carry over", "To sets it did not learn on, by how many it did; then to other sets.", tables.unseen
        ),
        Section(
            "What larger values are worth",
            "Sets of CIFAR-10 at 1 image a class, their values times a factor.",
            tables.scale,
        ),
        Section("Transfer", "", tables.transfer),
        Section("Caching", "", tables.caching, ("caching_subsets.png", "caching_losses.png")),
        Section("Float32", "Relative error against float64.", tables.precision),
        Section("What a step costs", "", tables.bench),
        Section("What the ridge head's factorisation costs", "", tables.factoring),
        Section("Device memory", "By XLA's analysis of the compiled step.", tables.memory),
        Section("Memory of the bi-level gradient", "", tables.unrolled),
    ]


def _picture(name: str) -> str:
    path = sweep.RESULTS / name
    if not path.is_file():
        return f"<p class=missing>{html.escape(name)} has not been drawn.</p>"
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<figure><img alt="{html.escape(name)}" src="data:image/png;base64,{data}"></figure>'


def _run(one: dict[str, Any]) -> str:
    """One run's command and what it ran on."""
    facts = {
        "device": one.get("device"),
        "commit": one.get("commit"),
        "seconds": round(sum(stage["wall_seconds"] for stage in one.get("stages", {}).values()), 1) or None,
        "seed": one.get("fields", {}).get("seed", 0) if "fields" in one else None,
        "jax": one.get("versions", {}).get("jax"),
    }
    line = ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)
    config = html.escape(json.dumps(one["fields"])) if "fields" in one else ""
    return (
        f"<dt>{html.escape(one['row'])}</dt><dd><code>{html.escape(one['command'])}</code><br>{html.escape(line)}"
        f"{'<br>fields that differ from the default: ' + config if config else ''}</dd>"
    )


def page(parts: list[Section]) -> str:
    """The whole page as HTML."""
    body, links = [], []
    for number, part in enumerate(parts):
        runs = part.runs()
        links.append(f'<li><a href="#part{number}">{html.escape(part.title)}</a></li>')
        text = part.text + (f"\n\n{part.table()}" if part.table else "")
        body.append(f'<section id="part{number}"><h2>{html.escape(part.title)}</h2>')
        body.append(f"<div class=scroll>{markdown.markdown(text, extensions=['tables'])}</div>")
        body += [_picture(name) for name in part.pictures]
        if runs:
            listed = "".join(map(_run, runs))
            body.append(
                f"<details><summary>{len(runs)} runs: commands, configs, devices</summary><dl>{listed}</dl></details>"
            )
        body.append("</section>")
    return _PAGE.format(links="".join(links), body="\n".join(body))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>fsdd: what was measured</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem; color: #1a1a1a }}
h1 {{ font-size: 1.6rem }} h2 {{ font-size: 1.25rem; margin-top: 2.5rem; border-bottom: 1px solid #ccc }}
.scroll {{ overflow-x: auto }}
table {{ border-collapse: collapse; font-size: .85rem }}
th, td {{ padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: left; white-space: nowrap }}
tr:nth-child(even) td {{ background: #f6f6f6 }}
img {{ max-width: 100%; height: auto }} figure {{ margin: 1rem 0; max-width: 44rem }}
code {{ font-size: .8rem; overflow-wrap: anywhere }} dt {{ font-weight: 600; margin-top: .6rem }}
.missing {{ color: #8a4b00 }}
</style></head><body>
<h1>fsdd: what was measured</h1>
<p>Generated from <code>experiments/results/*.json</code>; no figure in a table is typed. Accuracy is the last step's on
the whole test split, mean and standard deviation over networks trained from scratch. Empty cells have not been
measured. <code>experiments/README.md</code> says how to read it, and how far.</p>
<ul>{links}</ul>
{body}
</body></html>
"""


def main() -> None:
    """Write the page."""
    with replacing(OUT) as file:
        file.write_text(page(sections()), encoding="utf-8")
    print(OUT)


if __name__ == "__main__":
    main()
