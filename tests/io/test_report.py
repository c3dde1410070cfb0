"""What people are told of a run."""

import pathlib

import pytest

from fsdd.io import report

FOLDER = pathlib.Path("runs") / "first"
STAGE = {"steps": 1000, "networks": 1, "wall_seconds": 61.4, "compile_seconds": 9.6, "last": {"nfr": 0.12345}}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((45.678, 1.234), "45.68 +- 1.23"),
        ((45.678, 0.0), "45.68 +- 0.00"),
        ((45.678, None), "45.68"),
        ((45.678, 1.25, "±", 1), "45.7 ± 1.2"),
        ((45.678, None, "±", 0), "46"),
    ],
)
def test_a_spread_is_said_where_there_is_one(given, wanted):
    assert report.spread(*given) == wanted


def evaluation(std):
    facts = {"stage": "translate", "networks": 3, "architecture": "convnet", "width": 128, "steps": 1000}
    return facts | {"mean": 45.678, "std": std}


def test_a_run_is_a_line_for_each_stage_and_evaluation_and_where_its_set_is():
    stages = {"distill": STAGE, "translate": STAGE | {"last": {}, "networks": 1000}}
    results = {"stages": stages, "evaluations": [evaluation(0.5), evaluation(None)], "stored_numbers": {}}
    lines = report.describe(results, FOLDER)
    assert lines == [
        "distill      1000 steps, 1 networks, 61 s (compiling 10 s), NFR loss 0.1235",
        "translate    1000 steps, 1000 networks, 61 s (compiling 10 s)",
        "accuracy of translate: 45.68 +- 0.50 % (3 x convnet of width 128, 1000 steps)",
        "accuracy of translate: 45.68 % (3 x convnet of width 128, 1000 steps)",
        f"stored {FOLDER / 'synthetic.npz'}; look at {FOLDER / 'synthetic.png'}",
    ]


def test_without_an_evaluation_the_set_is_named_all_the_same():
    results = {"stages": {"distill": STAGE}, "evaluations": [], "stored_numbers": {}}
    assert report.describe(results, FOLDER)[-1].startswith(f"stored {FOLDER / 'synthetic.npz'}")
    assert len(report.describe({"stages": {"cache": {"subsets": 0}}, "evaluations": []}, FOLDER)) == 1


def test_where_classes_have_different_numbers_of_test_images_balanced_accuracy_is_said():
    classes = {"class_accuracies": [98.0, None, 12.5], "balanced_accuracy": 55.25, "test_images_of_a_class": [0, 150]}
    results = {"stages": {}, "evaluations": [evaluation(0.5) | classes], "stored_numbers": {}}
    assert report.describe(results, FOLDER)[1] == (
        "  0 to 150 test images per class: balanced accuracy 55.25 %, of single classes 12.50 to 98.00 %"
    )
    even = evaluation(0.5) | classes | {"test_images_of_a_class": [35, 37]}
    assert len(report.describe({"stages": {}, "evaluations": [even]}, FOLDER)) == 1


def test_pre_training_says_what_it_stored_and_how_it_did():
    cache = {"subsets": 64, "bytes": 2_500_000, "wall_seconds": 12.0, "before": [0, 0.9, 1], "after": [0, 0.25, 1]}
    pretrain = STAGE | {"networks": 4000, "held_out": {"untranslated": 0.5, "translated": 0.4}}
    lines = report.describe({"stages": {"cache": cache, "pretrain": pretrain}, "evaluations": []}, FOLDER)
    assert "64 subsets, 2.5 MB, 12 s" in lines[0] and "0.9000 -> 0.2500" in lines[0]
    assert f"--inspect={FOLDER}" in lines[0]
    assert "0.5000, translated 0.4000" in lines[1] and str(FOLDER / "translator") in lines[1]
    assert "waiting" not in lines[1]
    waiting = report.describe(
        {"stages": {"pretrain": pretrain | {"waited_for_data": 0.125}}, "evaluations": []}, FOLDER
    )
    assert "(12.5% waiting for data)" in waiting[0]
    none = report.describe({"stages": {"cache": {"subsets": 0}}, "evaluations": []}, FOLDER)
    assert none == ["cache: other processes are at all subsets"]
