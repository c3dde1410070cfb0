"""Variants of adaptation side by side: one change at a time, several starts, all in the very same random networks.

    python -m experiments.studies.side_by_side --ipc 1 --starts 5 --minutes 8 --data_dir ~/tensorflow_datasets

What a step of adaptation costs is mostly the real images' way through a fresh network. Here every variant and every
start moves in that network before the next one is drawn: they share its cost, and what they differ by is not the luck
of the networks. A start is a seed: other real images, other batches of `1 Net`, other evaluation networks; variants of
one start share these, so that differences are paired. All by the PyTorch code's protocol, as Table 3 is.

Variants are in order of worth: what does not fit into the minutes is left out, last ones first. Writes
results/side_by_side_ipcIPC.json.
"""

import argparse
import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from experiments import records
from experiments.studies.paired_sets import Clock, Table, build_context, distil, judge, parse_arguments, score, tabulate
from experiments.studies.racers import VARIANTS, Racer, Variant, race, start_translator, train_autoencoder
from fsdd.assembly import environment
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.methods import translation


def markdown(ipc: int) -> str:
    """What is measured of each variant at one IPC, beside the identity and beside what is not adapted."""
    found = records.load(f"side_by_side_ipc{ipc}")
    if not found:
        return ""
    what = f"IPC {ipc}, {found['starts']} starts, {found['networks']:,} fresh networks, {found['device']}"
    return f"{tabulate(found['rows'], 'variant', ('one_net', 'identity'))}\n\n{what}."


def main() -> None:
    """Distil, adapt, judge and score."""
    parser = argparse.ArgumentParser(prog="python -m experiments.studies.side_by_side")
    parser.add_argument("--networks", type=int, default=1000, help="fresh networks of adaptation")
    parser.add_argument("--only", nargs="*", choices=[one.name for one in VARIANTS], help="variants; default: all")
    arguments = parse_arguments(parser, "side_by_side", starts=3, evaluated=2)
    clock = Clock(arguments.minutes)
    environment.prepare()
    context = build_context(arguments)
    facts = {name: getattr(arguments, name) for name in ("ipc", "starts", "steps", "networks")}
    table = Table(arguments.out, facts)
    print(f"data are there after {clock.spent:.0f} s", flush=True)
    sources = [distil(context, start) for start in range(arguments.starts)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *sources)
    print(f"sets are distilled after {clock.spent:.0f} s", flush=True)
    variants = [one for one in VARIANTS if arguments.only is None or one.name in arguments.only]
    widths = {one.width for one in variants if one.start == "autoencoder"}
    trained = {width: train_autoencoder(context, width, 5 if arguments.smoke else 5000) for width in widths}
    racers = [Racer(one, context, stacked, arguments.networks, trained) for one in variants]
    racers = race(racers, context, arguments.networks, 64 if arguments.smoke else 1024, clock)
    print(f"variants are adapted after {clock.spent:.0f} s", flush=True)
    sets = {"one_net": sources}
    for racer in racers:
        sets[racer.variant.name] = racer.sets()
        table.put(racer.variant.name, **dataclasses.asdict(racer.variant), curve=racer.curve(), taken=len(racer.losses))
    shipped = Variant("shipped", "shipped")
    begun = start_translator(shipped, context, {})
    sets["shipped_unadapted"] = [translation.translate(shipped.translator, begun, one) for one in sources]
    store(sets, arguments.out.with_suffix(".npz"))
    judge(context, sets, table, networks=2 if arguments.smoke else 16)
    score(context, sets, table, arguments.evaluate, clock)
    print(f"done after {clock.spent:.0f} s", flush=True)


def store(sets: dict[str, list[SyntheticSet]], path: pathlib.Path) -> None:
    """Keep what came out, in half precision: of all starts where that is small, else of the first."""
    few = sets["one_net"][0].images.size < 10**5
    arrays = {}
    for name, starts in sets.items():
        for start, one in enumerate(starts if few else starts[:1]):
            arrays[f"{name}/{start}/images"] = np.asarray(one.images, np.float16)
            arrays[f"{name}/{start}/labels"] = np.asarray(one.labels, np.float16)
    np.savez_compressed(path, **arrays)


if __name__ == "__main__":
    main()
