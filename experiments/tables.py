"""Render the tables of README.md and experiments/README.md from results/*.json; no figure in a table is typed.

python -m experiments.tables
"""

import importlib
import json
import pathlib
import re

import numpy as np

from experiments import cells, rescored, sweep
from fsdd import config as configs

ROOT = pathlib.Path(__file__).parents[1]
DEFAULTS = configs.defaults()


def load(name: str):
    """One result file, or nothing if it has not been measured."""
    path = sweep.RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else []


SWEEPS = ("one_net", "adaptation", "refine")


def runs() -> str:
    """All rows of all sweeps."""
    return sweep.table([row for name in SWEEPS for row in load(name)])


def commands() -> str:
    """How each row that has a result is run on its own."""
    measured = {row["row"] for name in SWEEPS for row in load(name)}
    rows = [row for name in SWEEPS for row in importlib.import_module(f"experiments.{name}").ROWS]
    return "\n".join(f"    {sweep.command(row)}" for row in rows if row.name in measured)


def precision() -> str:
    """Relative errors of float32."""
    lines = [
        "| initialisation | images | factored | prediction | loss | gradient (labels) | gradient (images) |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in (load("precision") or {"rows": []})["rows"]:
        lines.append(
            f"| {row['initialisation']} | {10 * row['ipc']} | {row['factored']} | {row['prediction']:.1e} | "
            f"{row['loss']:.1e} | {row['labels']:.1e} | {row['images']:.1e} |"
        )
    return "\n".join(lines)


def factoring() -> str:
    """Milliseconds of the ridge head's factorisation, here and on a GPU."""
    lines = [
        "| device | sets at once | rows of each (images, mirrored) | Cholesky (ms) | Householder (ms) |",
        "|---" * 5 + "|",
    ]
    for found in filter(None, map(load, ("factoring", "factoring_gpu"))):
        for row in found["rows"]:
            taken = " | ".join(f"{row[name]:.1f}" if name in row else "" for name in ("cholesky", "householder"))
            lines.append(f"| {found['device']} | {row['sets']} | {row['rows']} | {taken} |")
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


def frontier() -> str:
    """Refinement by its start, networks, uses and real images, on validation images."""
    lines = ["| start | networks | uses | real images | held at once | accuracy (%) | seconds of refinement |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in load("frontier"):
        score, fields, refined = row["evaluations"][-1], row["fields"], row["stages"].get("refine")
        start = fields.get("start", "random") + (", `1 Net`" if "distill" in row["stages"] else "")
        counts = " |" * 4
        if refined:
            names = ("networks", "uses", "real_images", "group")
            counts = " | ".join(f"{fields.get(f'refine.{name}', DEFAULTS[f'refine.{name}']):,}" for name in names)
            counts = f" {counts} |"
        seconds = f"{refined['wall_seconds']:.0f}" if refined else ""
        lines.append(f"| {start} |{counts} {score['mean']:.1f} ± {score['std']:.1f} | {seconds} |")
    return "\n".join(lines)


def taught() -> str:
    """Refinement over networks that had learned the set, on validation images; a way that was given up."""
    lines = ["| most updates | networks | uses | accuracy (%) | seconds of refinement |", "|---|---|---|---|---|"]
    for row in load("taught"):
        fields, score, stage = row["fields"], row["evaluations"][-1], row["stages"]["refine"]
        counts = f"{fields.get('refine.updates', 0)} | {fields['refine.networks']} | {fields['refine.uses']}"
        lines.append(f"| {counts} | {score['mean']:.1f} ± {score['std']:.1f} | {stage['wall_seconds']:.0f} |")
    return "\n".join(lines)


def shipped() -> str:
    """Points of the curve of the translator that 2 cores made."""
    columns = {"held-out subsets: NFR loss at best scale": "scaled", "ridge accuracy (%)": "accuracy"}
    return _curve("tiny_imagenet32", columns | {"target: loss": "target_scaled", "accuracy": "target_accuracy"}, 500)


def shipped_torch() -> str:
    """The curve of the translator for networks that start as PyTorch's."""
    columns = {"NFR loss": "", "at best scale": "scaled", "ridge accuracy (%)": "accuracy"}
    return _curve("tiny_imagenet32_torch", columns, 1000)


def _curve(name: str, columns: dict[str, str], every: int) -> str:
    """The curve of a packaged translator: figures, by their titles, before any step and after some."""
    card = json.loads((ROOT / "fsdd" / "pretrained" / name / "card.json").read_text())
    lines = [f"| step | seconds | {' | '.join(columns)} |", "|---" * (2 + len(columns)) + "|"]
    for index, point in enumerate(card["judged"]):
        if index and point["step"] % every:
            continue
        keys = [f"{figure}_".lstrip("_") + ("translated" if index else "untranslated") for figure in columns.values()]
        values = (f"{point[key]:.1f}" if "accuracy" in key else f"{point[key]:.4f}" for key in keys)
        lines.append(f"| {point['step'] if index else 'start'} | {point['seconds']:.0f} | {' | '.join(values)} |")
    return "\n".join(lines)


def pretraining() -> str:
    """Where pre-training starts and how it spends its work: what each variant had after its last step."""
    lines = ["| variant | steps | networks | seconds | held-out loss left (%) | ridge accuracy (%) |"]
    lines += ["|---|---|---|---|---|---|"]
    for name, one in (load("pretraining") or {"variants": {}})["variants"].items():
        first, last = one["curve"][0], one["curve"][-1]
        share = importlib.import_module("experiments.pretraining").share(last)
        lines.append(
            f"| {name} | {one['steps']} | {one['networks']} | {last['seconds'] - first['seconds']:.0f} | "
            f"{100 * share:.2f} | {last['accuracy_translated']:.1f} |"
        )
    return "\n".join(lines)


def scale() -> str:
    """Networks trained on sets with their values made larger or smaller."""
    lines = ["| protocol | set | T | steps of training | values times | accuracy (%) |", "|---|---|---|---|---|---|"]
    for row in (load("scale") or {"rows": []})["rows"]:
        made = row["set"].split("_", 2)[-1] if row["stage"] != "distill" else "one_net"
        title = cells.METHODS[made].title if made in cells.METHODS else row["set"]
        what = f"{row['protocol']} | {title} | {row['T']:,} | {row['steps']:,} | {row['factor']}"
        lines.append(f"| {what} | {row['mean']:.1f} ± {row['std']:.1f} |")
    return "\n".join(lines)


def plain() -> str:
    """Networks trained on what of a set is plain images and classes."""
    names = {
        "images": {"whitened": "whitened", "rounded": "8-bit pixels, whitened", "pixels": "8-bit pixels"},
        "loss": {"squared": "squared", "cross_entropy": "cross-entropy"},
    }
    lines = ["| set | images | labels | loss | accuracy (%) |", "|---|---|---|---|---|"]
    of_table_3 = [cells.load("cpu")["cifar10_ipc1_refine"] | {"row": "refined"}]
    for result in [*of_table_3, *(load("plain") or [])]:
        score = cells.score(result)
        # Those of Table 3 are older than these fields.
        recipe = {"images": "whitened", "labels": "learned", "loss": "squared"} | score["recipe"]
        images, loss = (names[field][recipe[field]] for field in ("images", "loss"))
        what = f"{result['row'].partition('_')[0]} | {images} | {recipe['labels']} | {loss}"
        lines.append(f"| {what} | {score['mean']:.1f} ± {score['std']:.1f} |")
    return "\n".join(lines)


def transfer() -> str:
    """NFR losses of sets that the translator never saw."""
    lines = ["| set | NFR loss | translated | ridge accuracy (%) | translated |", "|---|---|---|---|---|"]
    for row in (load("transfer") or {"rows": []})["rows"]:
        before, after = row["distill"], row["translate"]
        lines.append(
            f"| {row['set']} | {before['nfr']:.3f} ± {before['nfr_std']:.3f} | {after['nfr']:.3f} ± "
            f"{after['nfr_std']:.3f} | {before['accuracy']:.1f} | {after['accuracy']:.1f} |"
        )
    return "\n".join(lines)


def unseen() -> str:
    """What translators gain on sets that they learned on and on others."""
    lines = ["| T | subsets | steps | judged on | sets | ridge accuracy (%) | gain | NFR loss at best scale | gain |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for row in [row for name in ("unseen", "unseen_torch") for row in (load(name) or {"rows": []})["rows"]]:
        accuracy = f"{row['accuracy']:.1f} | {row['accuracy_gain']:+.2f} ± {row['accuracy_gain_error']:.2f}"
        loss = f"{row['nfr_scaled']:.4f} | {row['nfr_scaled_gain']:+.4f} ± {row['nfr_scaled_gain_error']:.4f}"
        learned = f"{row['T']} | {row['subsets']} | {row['steps']}"
        lines.append(f"| {learned} | {row['group']} | {row['sets']} | {accuracy} | {loss} |")
    return "\n".join(lines)


def memory() -> str:
    """Bytes of compiled steps."""
    lines = ["| side | images a class | `1 Net` step (MB) | with its cached features | adaptation step | ratio |"]
    lines += ["|---|---|---|---|---|---|"]
    for row in (load("memory") or {"rows": []})["rows"]:
        sizes = " | ".join(f"{row[name] / 1e6:.0f}" for name in ("distill", "distill_with_target", "translate"))
        lines.append(f"| {row['side']} | {row['ipc']} | {sizes} | {row['ratio']:.2f} |")
    return "\n".join(lines)


def unrolled() -> str:
    """Bytes of the bi-level gradient."""
    lines = ["| inner steps | computed again (MB) | kept (MB) |", "|---|---|---|"]
    for row in load("memory").get("bilevel", []):
        lines.append(f"| {row['inner']} | {row['again'] / 1e6:.0f} | {row['kept'] / 1e6:.0f} |")
    return "\n".join(lines)


def table2() -> str:
    """Table 2 at the scale of 2 cores."""
    return importlib.import_module("experiments.table2").markdown("cpu", cells.load("cpu"))


def table3() -> str:
    """Table 3 at the scale of 2 cores."""
    module = importlib.import_module("experiments.table3")
    return module.markdown("cpu", cells.load("cpu"), rescored.load("protocols", "cpu"))


def table3_paper() -> str:
    """Table 3 at the paper's own scale."""
    return importlib.import_module("experiments.table3").markdown("paper", cells.load("paper"))


def on_gpu() -> str:
    """The rows of Table 3 at the paper's scale that were measured, without notes."""
    head, rule, *rows = table3_paper().partition("\n\n")[0].splitlines()
    return "\n".join([head, rule, *(row for row in rows if "±" in row)])


def table4() -> str:
    """Table 4 at the scale of 2 cores."""
    return _table4("cpu")


def table4_paper() -> str:
    """Table 4 at the paper's own scale."""
    return _table4("paper")


def _table4(scale: str) -> str:
    """Each number of images a class at which other architectures have been tried."""
    module, scored = importlib.import_module("experiments.table4"), rescored.load("table4", scale)
    pairs = sorted({(one["dataset"], one["ipc"]) for one in scored})
    return "\n\n".join(module.markdown([*module.of_table3(scale), *scored], *pair) for pair in pairs)


def protocols() -> str:
    """Table 3's sets at one image a class of CIFAR-10, scored as each of FRePo's codes does."""
    module = importlib.import_module("experiments.protocols")
    return module.markdown(rescored.load("protocols", "cpu"), "cifar10", 1)


def figure4c() -> str:
    """One adapted translator on sets of several numbers of images a class."""
    if not load("figure4c_cpu"):
        return "Not measured yet."
    lines = ["| images a class | adapted on | `1 Net` | translated |", "|---|---|---|---|"]
    for one in load("figure4c_cpu")["sets"]:
        scores = " | ".join(f"{one[stage]['mean']:.1f} ± {one[stage]['std']:.1f}" for stage in ("distill", "translate"))
        lines.append(f"| {one['ipc']} | {'yes' if one['seen'] else 'no'} | {scores} |")
    return "\n".join(lines)


def figure5() -> str:
    """Continual learning: accuracy after each step, mean and standard deviation over class orders."""
    found = load("figure5_cpu") or {"steps": 5, "runs": []}
    after = " | ".join(f"after step {step}" for step in range(1, found["steps"] + 1))
    lines = [f"| row | orders | {after} | seconds a step |", "|---" * (3 + found["steps"]) + "|"]
    for row in dict.fromkeys(one["row"] for one in found["runs"]):
        runs_of = [one for one in found["runs"] if one["row"] == row]
        accuracies = np.array([one["accuracies"] for one in runs_of])
        spread = [f" ± {value:.1f}" for value in accuracies.std(0, ddof=1)] if len(runs_of) > 1 else [""] * 9
        means = [f"{mean:.1f}{value}" for mean, value in zip(accuracies.mean(0), spread, strict=False)]
        seconds = np.mean([one["seconds"] for one in runs_of])
        lines.append(f"| {cells.METHODS[row].title} | {len(runs_of)} | {' | '.join(means)} | {seconds:.0f} |")
    return "\n".join(lines)


def ablation() -> str:
    """CIFAR-10 at one image a class: the measured rows of Table 3, the recipe of the configs among them."""
    found = cells.load("cpu")
    scored = [one for one in rescored.load("protocols", "cpu") if one["protocol"] == "torch"]
    titles = ["row", "accuracy (%)", *["scored as the paper's code does"] * bool(scored), "paper", "networks"]
    lines = [f"| {' | '.join(titles)} | seconds of distilling |", "|---" * (len(titles) + 1) + "|"]
    named = [(name, cells.METHODS[name].title, cells.of(found, name, "cifar10", 1)) for name in cells.METHODS]
    named += [("", "the config as it is, T = 3,000", row) for row in load("adaptation") if row["row"] == "cifar10_ipc1"]
    for name, title, result in named:
        if result is None:
            continue
        score, theirs = cells.score(result), importlib.import_module("experiments.table3").paper(name, 0)
        networks = sum(stage["networks"] for stage in result["stages"].values())
        alike = rescored.entry(rescored.of(scored, row=name, dataset="cifar10", ipc=1, protocol="torch"))
        entries = [title, f"{score['mean']:.1f} ± {score['std']:.1f}", *[alike] * bool(scored)]
        entries += ["" if theirs is None else f"{theirs}", f"{networks}", f"{cells.seconds(result, score):.0f}"]
        lines.append(f"| {' | '.join(entries)} |")
    return "\n".join(lines)


BLOCKS = (
    runs, commands, precision, bench, caching, frontier, taught, shipped, shipped_torch, pretraining, unseen, scale,
    transfer, memory, unrolled, table2, table3, table3_paper, on_gpu, protocols, plain, table4, table4_paper, figure4c,
    figure5, factoring, ablation,
)  # fmt: skip
PAGES = (ROOT / "README.md", ROOT / "experiments" / "README.md")


def rendered(text: str) -> str:
    """A page with what stands between `<!-- NAME -->` and `<!-- end -->` made anew."""
    for block in BLOCKS:
        pattern = rf"(<!-- {block.__name__} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda m, f=block: f"{m[1]}{f()}\n{m[2]}", text, flags=re.DOTALL)
    return text


def main() -> None:
    """Bring both pages up to date."""
    for page in PAGES:
        page.write_text(rendered(page.read_text()))


if __name__ == "__main__":
    main()
