"""From what a config says to what a run reads: protocols, methods, old names, and no change afterwards."""

import dataclasses
import sys

import ml_collections
import pytest
import runs

from fsdd import config as configs
from fsdd import main
from fsdd.config import arguments, legacy
from fsdd.config.fields import BUDGETS, ByProtocol, Field
from fsdd.config.values import whole
from fsdd.errors import UserError

# What the protocols of the first version filled, by today's names.
AS_LEARNED = {
    "whitening.kind": "auto",
    "labels": "learned",
    "evaluate.images": "whitened",
    "evaluate.labels": "learned",
    "evaluate.loss": "squared",
    "start": "random",
    "network.architecture": "convnet",
    "network.norm": "batch",
    "evaluate.architecture": "convnet",
    "evaluate.norm": "none",
    "evaluate.rate": 3e-4,
    "evaluate.batch": 500,
    "evaluate.epochs": 0,
    "evaluate.cutmix": 0.0,
    "evaluate.fit": "train",
}
TORCH = AS_LEARNED | {
    "network.initialisation": "torch",
    "objective.scale": 1.0,
    "distill.optimiser": "adam",
    "refine.optimiser": "adam",
    "frepo.optimiser": "adam",
    "frepo.rate": 1e-3,
    "frepo.network_schedule": "warmup_times_cosine",
    "evaluate.initialisation": "torch",
    "evaluate.optimiser": "adamw",
    "evaluate.weight_decay": 5e-4,
    "evaluate.schedule": "warmup_times_cosine",
    "evaluate.policy": "dsa",
    "evaluate.mean_over_classes": True,
    "evaluate.length": "epochs",
}
JAX = AS_LEARNED | {
    "network.initialisation": "lecun",
    "objective.scale": 0.5,
    "distill.optimiser": "lamb",
    "refine.optimiser": "lamb",
    "frepo.optimiser": "lamb",
    "frepo.rate": 3e-4,
    "frepo.network_schedule": "constant",
    "evaluate.initialisation": "lecun",
    "evaluate.optimiser": "adam",
    "evaluate.weight_decay": 0.0,
    "evaluate.schedule": "warmup_cosine",
    "evaluate.policy": "frepo",
    "evaluate.mean_over_classes": False,
    "evaluate.length": "steps",
}
BEST = JAX | {"distill.optimiser": "adam", "evaluate.policy": "dsa"}
PLAIN = BEST | {
    "whitening.kind": "standardize",
    "labels": "hard",
    "evaluate.images": "pixels",
    "evaluate.labels": "hard",
    "evaluate.loss": "cross_entropy",
}
# The rivals' own; of CIFAR-10, which is standardised by DC's constants.
DC = PLAIN | {
    "start": "noise",
    "whitening.kind": "dc_cifar10",
    "network.architecture": "dc_convnet",
    "network.norm": "instance",
    "network.initialisation": "torch",
    "evaluate.images": "whitened",
    "evaluate.architecture": "dc_convnet",
    "evaluate.norm": "instance",
    "evaluate.initialisation": "torch",
    "evaluate.optimiser": "sgd",
    "evaluate.rate": 0.01,
    "evaluate.weight_decay": 5e-4,
    "evaluate.schedule": "drop",
    "evaluate.policy": "none",
    "evaluate.batch": 256,
    "evaluate.epochs": 301,
}
DSA = DC | {"start": "random", "evaluate.policy": "dsa", "evaluate.epochs": 1001}
IDC = DSA | {
    "start": "first",
    "evaluate.schedule": "two_drops",
    "evaluate.policy": "idc_scoring",
    "evaluate.cutmix": 0.5,
    "evaluate.batch": 64,
    "evaluate.epochs": 1000,
}
MTT = DSA | {"whitening.kind": "mtt_zca", "evaluate.rate": 0.0}
RTP = DC | {
    "start": "grey",
    "evaluate.weight_decay": 0.0,
    "evaluate.schedule": "constant",
    "evaluate.batch": 640,
    "evaluate.epochs": 300,
}
PROTOCOLS = {"frepo_torch": TORCH, "frepo_jax": JAX, "recommended": BEST, "plain_pixels": PLAIN}
PROTOCOLS |= {"ridge": BEST | {"evaluate.fit": "ridge"}}
PROTOCOLS["ridge_then_train"] = BEST | {"evaluate.fit": "ridge_then_train", "evaluate.rate": 1e-4}
PROTOCOLS |= {"dc": DC, "dsa": DSA, "idc": IDC, "mtt": MTT, "rtp": RTP}


def _resolved(**fields):
    return configs.resolve(runs.default({name.replace("__", "."): value for name, value in fields.items()}))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_protocols_fill_what_they_always_did(protocol):
    filled = PROTOCOLS[protocol]
    # All of them regress on mirror images, where those are as good.
    assert configs.flat(_resolved(protocol=protocol)).items() >= (filled | {"objective.flip": True}).items()
    assert {name for name, field in configs.table().items() if isinstance(field.default, ByProtocol)} == set(filled)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"dataset": "cifar10"}, {"objective.flip": True, "frepo.rate": 3e-4, "frepo.optimiser": "lamb"}),
        ({"dataset": "mnist"}, {"objective.flip": False}),
        ({"dataset": "emnist/letters"}, {"objective.flip": False}),
        ({"dataset": "digits_and_more/"}, {"objective.flip": True}),
        ({"dataset": "digits", "objective.flip": True}, {"objective.flip": True, "mirror": False}),
        ({"dataset": "cifar10", "mirror": False}, {"objective.flip": False}),
        ({"dataset": "digits", "mirror": True}, {"objective.flip": True}),
        ({"dataset": "cifar100", "ipc": 10, "protocol": "frepo_jax"}, {"objective.flip": False}),
        ({"dataset": "cifar100", "ipc": 10, "protocol": "frepo_torch"}, {"objective.flip": True, "frepo.rate": 1e-3}),
        ({"dataset": "hf:uoft-cs/cifar100", "protocol": "dc"}, {"whitening.kind": "dc_cifar100"}),
        ({"dataset": "cifar100", "protocol": "idc"}, {"whitening.kind": "dc_cifar10"}),
        ({"method": "idc"}, {"protocol": "idc", "start": "first", "evaluate.cutmix": 0.5}),
        ({"dataset": "digits", "protocol": "dsa"}, {"whitening.kind": "standardize", "objective.flip": False}),
        ({"method": "dc"}, {"protocol": "dc", "start": "noise", "evaluate.protocol": "dc", "evaluate.epochs": 301}),
        ({"method": "dm"}, {"protocol": "dsa", "start": "random", "evaluate.epochs": 1001}),
        ({"stages": ("dsa", "refine")}, {"protocol": "dsa"}),
        ({"method": "mtt"}, {"stages": ("experts", "mtt"), "protocol": "mtt", "whitening.kind": "mtt_zca"}),
        ({"method": "mtt", "ipc": 50}, {"whitening.kind": "dc_cifar10"}),
        ({"method": "mtt", "dataset": "cifar100"}, {"whitening.kind": "mtt_zca"}),
        ({"method": "mtt", "dataset": "cifar100", "ipc": 10}, {"whitening.kind": "dc_cifar10"}),
        ({"method": "mtt", "dataset": "cifar100", "ipc": 50}, {"whitening.kind": "mtt_zca"}),
        ({"method": "mtt", "dataset": "digits", "ipc": 10}, {"whitening.kind": "standardize"}),
        ({"method": "rtp", "dataset": "cifar100"}, {"protocol": "rtp", "whitening.kind": "dc_cifar100"}),
        ({"method": "dd"}, {"protocol": "dc", "start": "noise"}),
        ({"method": "dm", "protocol": "frepo_jax"}, {"protocol": "frepo_jax", "network.architecture": "convnet"}),
        (
            {"method": "dm", "evaluate.protocol": "frepo_torch"},
            {name: value for name, value in TORCH.items() if name.startswith("evaluate.")}
            | {"network.architecture": "dc_convnet", "labels": "hard"},
        ),
        ({"refine.networks": 8}, {"refine.group": 8}),
        ({"refine.networks": 1000}, {"refine.group": 125}),
        ({"refine.networks": 8, "refine.group": 2}, {"refine.group": 2}),
        ({"translate.networks": 0, "translate.group": 4}, {"translate.group": 4}),
        ({"translate.networks": 0, "translate.group": 0}, {"translate.group": 1}),
        ({"refine.networks": 1000, "refine.networks_per_step": 8}, {"refine.group": 40}),
        ({"refine.networks": 8, "refine.networks_per_step": 4, "refine.group": 1}, {"refine.group": 4}),
        ({"refine.networks": 12, "refine.networks_per_step": 4, "refine.group": 6}, {"refine.group": 12}),
        ({"protocol": "frepo_torch", "frepo.rate": 2e-3}, {"frepo.rate": 2e-3, "frepo.optimiser": "adam"}),
    ],
)
def test_what_is_open_is_filled_by_the_set_and_the_protocol(fields, wanted):
    assert configs.flat(configs.resolve(runs.default(fields))).items() >= wanted.items()


def test_a_method_on_the_command_line_replaces_the_stages_of_the_file():
    file = f"--config={runs.ROOT / 'configs/quickstart.py'}"

    def stages(*flags):
        return configs.resolve(main.parse(["fsdd", file, *flags]).config).stages

    assert stages() == ("distill", "translate", "refine")
    assert stages("--config.method=frepo", "--config.evaluate.stages=('start','frepo')") == ("frepo",)
    assert stages("--config.method=frepo", "--config.stages=('distill','translate','refine')")[0] == "distill"


def test_a_method_scores_of_the_sets_of_the_file_those_that_it_makes():
    resolved = configs.resolve(main.parse(["fsdd", "--config=quickstart", "--config.method=refine"]).config)
    assert resolved.stages == ("distill", "refine")
    assert resolved.evaluate.stages == ("start", "distill", "refine")


def test_what_is_resolved_is_complete_and_does_not_change():
    given = configs.default()
    resolved = configs.resolve(given)
    assert isinstance(resolved, configs.Resolved)
    assert list(configs.flat(resolved)) == list(configs.flat(given))
    assert [name for name, value in configs.flat(resolved).items() if value is None] == [
        "balanced",
        "budget",
        "data_dir",
        "shared_seed",
    ]
    for change in (
        lambda: setattr(resolved, "ipc", 2),
        lambda: setattr(resolved.distill, "steps", 2),
        lambda: resolved.distill.__setitem__("steps", 2),
        lambda: setattr(resolved, "another", 2),
    ):
        with pytest.raises(AttributeError):
            change()
    # Nor does the config that it was made of change with it.
    assert given.stages is None
    given.ipc = 7
    assert resolved.ipc == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("distill.uses=5", "config.distill.uses is not a field: it is called config.distill.steps now"),
        ("distill.networks=1", "config.distill.networks is not a field: distill uses one fixed network"),
        ("distill.group=1", "config.distill.group is not a field: distill uses one fixed network"),
        ("distill.real_images=9", "config.distill.real_images is not a field: distill uses one fixed network"),
        ("protocol=torch", "config.protocol is 'torch'; allowed: .*; it is called 'frepo_torch' now"),
        ("protocol=jax", "config.protocol is 'jax'; allowed: .*; it is called 'frepo_jax' now"),
        ("protocol=best", "config.protocol is 'best'; allowed: .*; it is called 'recommended' now"),
        ("protocol=plain", "config.protocol is 'plain'; allowed: .*; it is called 'plain_pixels' now"),
    ],
)
def test_old_names_say_what_they_are_called_now(given, words):
    with pytest.raises(UserError, match=words) as caught:
        configs.resolve(main.parse(["fsdd", "--config=quickstart", f"--config.{given}"]).config)
    assert len(str(caught.value).splitlines()) == 1


def test_a_stored_config_of_an_earlier_version_is_compatible():
    today = configs.flat(_resolved(protocol="frepo_torch", distill__steps=60))
    stored = {name: value for name, value in today.items() if name != "distill.steps"}
    stored |= {"distill.uses": 60, "distill.networks": 1, "distill.group": 1, "distill.real_images": 0}
    stored["protocol"] = "torch"
    # A field that came later had its default in that protocol.
    del stored["refine.real_images"], stored["evaluate.loss"], stored["frepo.network_schedule"]
    assert configs.compatible(stored, today) == today
    assert configs.compatible(stored | {"distill.uses": 61}, today) != today
    assert configs.compatible(None, today) is None


def test_another_field_does_not_orphan_what_was_stored(monkeypatch):
    """As if the next version had one more."""
    stored = configs.flat(configs.resolve(configs.default()))
    later = configs.table() | {"distill.later": Field(3, whole(0, 9), "A field to come.")}
    monkeypatch.setattr(sys.modules["fsdd.config.table"], "table", lambda: later)
    monkeypatch.setattr("fsdd.config.resolution.table", lambda: later)
    for value in (3, 4):
        wanted = configs.flat(_resolved(distill__later=value))
        assert wanted["distill.later"] == value
        assert (configs.compatible(stored, wanted) == wanted) == (value == 3)


def _refining(**fields):
    """The passes of an image that `refine` equals by the recipe of the CIFAR configs, at ten classes."""
    resolved = configs.resolve(arguments.change(configs.few_networks(configs.default()), fields))
    return configs.stages()["refine"].passes(resolved, [10 * resolved.ipc * resolved.factor**2], 50_000)


@pytest.mark.parametrize("images", [{"ipc": 1}, {"ipc": 1, "factor": 2}, {"ipc": 10}, {"ipc": 50}])
def test_a_budget_is_as_much_work_whatever_the_number_of_images(images):
    fast, default, long = (_refining(budget=budget, **images) for budget in BUDGETS)
    # 2 minutes, 10 and 60 at about 300 passes a second, which 2 cores do.
    assert 20_000 < fast < 45_000 and 130_000 < default < 250_000 and 750_000 < long < 1_300_000


def test_a_budget_fills_only_what_is_open():
    config = configs.few_networks(configs.default())
    by_default = configs.resolve(config)
    config.refine.uses = 3
    resolved = configs.resolve(config)
    assert (by_default.budget, resolved.refine.uses) == ("default", 3)
    assert resolved.refine.networks == by_default.refine.networks
    fast = configs.with_budget(resolved, "fast")
    config.update_from_flattened_dict({"budget": "fast", "refine.uses": by_default.refine.uses})
    wanted = configs.flat(configs.resolve(config)) | {"refine.group": resolved.refine.group}
    assert configs.flat(fast) == wanted
    unbudgeted = configs.resolve(configs.default()).refine
    assert (unbudgeted.networks, unbudgeted.uses, unbudgeted.rate) == (32, 32, 3e-3)


def test_a_budget_has_the_rate_of_the_optimiser_that_a_protocol_has():
    config = configs.few_networks(configs.default())
    rates = {}
    for protocol in ("frepo_torch", "frepo_jax", "recommended"):
        config.protocol = protocol
        refine = configs.resolve(config).refine
        rates[protocol] = (refine.optimiser, refine.rate)
    assert rates == {"frepo_torch": ("adam", 3e-3), "frepo_jax": ("lamb", 2e-2), "recommended": ("lamb", 2e-2)}


def test_recipes_and_config_files_are_good():
    assert configs.resolve(configs.few_networks(configs.default())).stages == ("refine",)
    for file in (runs.ROOT / "configs").glob("[!_]*.py"):
        resolved = configs.resolve(main.parse(["fsdd", f"--config={file}"]).config)
        assert resolved.stages, file


def test_sections_can_be_selected():
    resolved = _resolved(ipc=3)
    assert configs.select(resolved, ("ipc", "subsets"), without=("subsets.count",)) == {
        name: value
        for name, value in configs.flat(resolved).items()
        if name == "ipc" or (name.startswith("subsets.") and name != "subsets.count")
    }


def test_a_field_knows_whether_it_is_filled():
    field = Field(3, whole(1, 9), "One.")
    assert not field.is_open
    assert dataclasses.replace(field, default=None).is_open
    assert isinstance(configs.default(), ml_collections.ConfigDict)


def test_digests_forget_what_earlier_versions_did_anyway():
    fields = configs.defaults()
    kept = legacy.without_later(fields | {"evaluate.epochs": 301})
    assert "network.architecture" not in kept and kept["evaluate.epochs"] == 301
    # What is left out is what a config of those versions says today.
    assert all(fields[name] == value for name, value in legacy._LATER.items())
