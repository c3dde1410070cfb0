"""What is kept of a stream of classes, with a stand-in for distilling that says what it was given."""

import numpy as np
import pytest

from fsdd.integrations import exemplars

ROOM = 2


class Distilling:
    """Makes of each class `ROOM` images whose pixels are the mean of those that it was given."""

    def __init__(self):
        self.given = []

    def __call__(self, images, classes):
        self.given.append({int(label): images[classes == label].ravel().tolist() for label in np.unique(classes)})
        labels = np.repeat(np.unique(classes), ROOM)
        return np.array([images[classes == label].mean() for label in labels], np.float32).reshape(-1, 1, 1, 1), labels


@pytest.fixture
def distil():
    return Distilling()


def images_of(*values):
    return np.array(values, np.float32).reshape(-1, 1, 1, 1)


def values_of(kept):
    return {label: images.ravel().tolist() for label, images in kept.items()}


def seen(kept, distil, **experience):
    """One more experience: `of3=(0.1, 0.2)` are the images of class 3."""
    images = images_of(*(value for values in experience.values() for value in values))
    classes = np.array([int(name[2:]) for name, values in experience.items() for _ in values])
    return exemplars.renew(kept, images, classes, ROOM, distil)


def test_an_experience_of_several_classes_is_distilled_by_itself(distil):
    kept = seen({}, distil, of7=(0, 0.5, 1), of3=(0.25, 0.25, 0.25))
    assert values_of(kept) == {3: [0.25, 0.25], 7: [0.5, 0.5]}
    later = seen(kept, distil, of1=(1, 1, 1), of5=(0, 0, 0))
    assert values_of(later) == values_of(kept) | {1: [1, 1], 5: [0, 0]}
    assert distil.given[1] == {1: [1, 1, 1], 5: [0, 0, 0]}


def test_one_class_is_distilled_against_those_that_are_kept_which_stay(distil):
    kept = {3: images_of(0.25), 7: images_of(0.5, 0.75)}
    later = seen(kept, distil, of5=(0, 0, 1, 1))
    assert distil.given == [{3: [0.25], 5: [0, 0, 1, 1], 7: [0.5, 0.75]}]
    assert values_of(later) == {3: [0.25], 7: [0.5, 0.75], 5: [0.5, 0.5]}


def test_the_first_class_alone_is_kept_as_real_images_and_distilled_with_the_next(distil):
    kept = seen({}, distil, of4=(0, 0.25, 0.5, 1))
    # The mean is 0.4375: 0.5 is closest to it, and of two images 0.5 and 0.25 have the closest mean.
    assert values_of(kept) == {4: [0.5, 0.25]}
    assert not distil.given
    later = seen(kept, distil, of2=(0, 0, 1, 1))
    assert distil.given == [{2: [0, 0, 1, 1], 4: [0.5, 0.25]}]
    assert values_of(later) == {4: [0.375, 0.375], 2: [0.5, 0.5]}


def test_a_class_that_comes_again_is_distilled_from_what_was_kept_and_what_is_new(distil):
    kept = {3: images_of(0, 0), 7: images_of(0.5, 0.5)}
    later = seen(kept, distil, of9=(1, 1, 1), of3=(1, 1, 1, 1))
    # What was kept stands for as many as are new.
    assert distil.given == [{3: [0, 0, 0, 0, 1, 1, 1, 1], 9: [1, 1, 1]}]
    assert values_of(later) == {3: [0.5, 0.5], 7: [0.5, 0.5], 9: [1, 1]}


def test_a_class_that_comes_again_alone_is_distilled_against_the_others(distil):
    later = seen({3: images_of(0, 0), 7: images_of(0.5, 0.5)}, distil, of7=(1, 1))
    assert distil.given == [{3: [0, 0], 7: [0.5, 0.5, 1, 1]}]
    assert values_of(later) == {3: [0, 0], 7: [0.75, 0.75]}


def test_the_only_class_that_comes_again_stays_real(distil):
    kept = seen({4: images_of(0, 0.25)}, distil, of4=(0.75, 1, 1))
    # The mean is 0.6: 0.75 is closest to it, and beside that 0.25 is best.
    assert values_of(kept) == {4: [0.75, 0.25]}
    assert not distil.given


def test_few_images_are_kept_as_they_are(distil):
    kept = seen({}, distil, of6=(0.5,), of2=(0.25, 0.75))
    assert values_of(kept) == {2: [0.25, 0.75], 6: [0.5]}
    assert values_of(seen(kept, distil, of6=(1,))) == {2: [0.25, 0.75], 6: [0.5, 1]}
    assert not distil.given
    # Beside a class of many, they are distilled.
    seen(kept, distil, of8=(0, 0, 1), of6=(1,))
    assert distil.given == [{6: [0.5, 1], 8: [0, 0, 1]}]


def test_shortened_it_has_as_many_of_each_class():
    kept = {5: images_of(0, 0.5), 1: images_of(1), 2: images_of(0.25, 0.75)}
    assert values_of(exemplars.shorten(kept, 5)) == {5: [0], 1: [1], 2: [0.25]}
    assert exemplars.shorten(kept, 2) == {}
    assert exemplars.shorten({}, 2) == {}
