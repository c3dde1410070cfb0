"""Charts put a label at every point, none upon another."""

import itertools

import numpy as np
import pytest
from matplotlib.transforms import Bbox
from PIL import Image

from experiments import cells, charts
from experiments.paper import figure1


def boxes_of(ends, sizes):
    layout = charts._Layout([np.array([end], float) for end in ends], Bbox.from_extents(0, 0, 1200, 900))
    return {number: layout.place(number, *sizes[number])[0] for number in layout.order()}


def test_labels_of_a_crowd_cover_neither_each_other_nor_a_point():
    rng = np.random.default_rng(0)
    ends = np.array([600, 450]) + rng.normal(scale=60, size=(12, 2))
    boxes = boxes_of(ends, [(160, 30)] * 12)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes.values(), 2))
    for box in boxes.values():
        assert not np.any(np.all((ends > box.min) & (ends < box.max), axis=1))
        assert np.all(box.min >= 0) and np.all(box.max <= [1200, 900])


def test_a_single_label_stands_beside_its_point():
    (box,) = boxes_of([(600, 450)], [(100, 30)]).values()
    assert 0 < box.x0 - 600 < 40 and abs((box.y0 + box.y1) / 2 - 450) < 1


@pytest.mark.parametrize("draw", [charts.scatter, charts.lines])
def test_families_have_a_colour_each_and_pictures_one_size(tmp_path, draw):
    series = [
        charts.Series([1, 2], [1, 2], charts.REFINE, "a"),
        charts.Series([1, 3], [2, 1], charts.REFINE, "b"),
        charts.Series([2, 3], [3, 3], charts.RIVALS, "c"),
    ]
    draw(tmp_path / "chart.png", series, "x", "y")
    picture = np.asarray(Image.open(tmp_path / "chart.png").convert("RGB"))
    assert picture.shape == (900, 1200, 3)
    values, counts = np.unique(picture.reshape(-1, 3) @ [1 << 16, 1 << 8, 1], return_counts=True)
    shown = {f"#{value:06X}" for value in values[counts > 100]}
    assert {"#007A5A", "#0060A8"} <= shown and not {"#B84A00", "#9C3D7A"} & shown


def test_every_row_of_the_paper_is_of_a_known_family():
    known = {charts.RIVALS, charts.TRANSLATORS, charts.REFINE, charts.SMALL, charts.REAL}
    assert {method.family for method in cells.METHODS.values()} == known
    points = figure1.collect_points(cells.load("cpu"), "cifar10", 1)
    assert len({point.label for point in points}) == len(points) > 10
