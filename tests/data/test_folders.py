"""Splits and layouts of image folders as people have them: which images, which labels, and what is said."""

import os
import pathlib

import pytest
from images_on_disk import of_test, of_train, save

from fsdd.data.sources import load
from fsdd.errors import UserError


def said(real, *words: str) -> str:
    """The one note that has all words."""
    (note,) = [note for note in real.notes if all(word in note for word in words)]
    assert "\n" not in note
    return note


def two_classes(split: pathlib.Path, first: int, count: int = 2) -> list[tuple[str, int]]:
    """Images of the classes a and b, of values from `first`; what a set of them has to show."""
    for place, name in enumerate("ab"):
        for index in range(count):
            save(split / name / f"{index}.png", first + place * count + index)
    return [("ab"[index // count], first + index) for index in range(2 * count)]


# ---- splits


@pytest.mark.parametrize("train_name", ["train", "Training", "TRAIN"])
@pytest.mark.parametrize(
    "test_name", ["test", "Test", "testing", "eval", "EVALUATION", "validation", "valid", "Val", "dev"]
)
def test_splits_of_all_names(tmp_path, train_name, test_name):
    wanted, held_out = two_classes(tmp_path / train_name, 10), two_classes(tmp_path / test_name, 50)
    real = load(str(tmp_path))
    assert (of_train(real), of_test(real)) == (wanted, held_out)
    if test_name.lower() in ("validation", "valid", "val", "dev"):
        assert said(real, "no test/").endswith(f"{test_name}/ is the test set")
    else:
        assert not real.notes


def test_a_validation_split_beside_a_test_split_is_counted_and_not_used(tmp_path):
    wanted, held_out = two_classes(tmp_path / "train", 10), two_classes(tmp_path / "testing", 50)
    two_classes(tmp_path / "valid", 90, count=3)
    (tmp_path / "valid/labels.txt").touch()
    real = load(str(tmp_path))
    assert (of_train(real), of_test(real)) == (wanted, held_out)
    assert said(real, "not used") == f"{tmp_path.name}: 7 files are not used: 7 in valid/"


def test_a_test_split_without_labels_leaves_the_test_to_validation_or_is_held_out(tmp_path):
    two_classes(tmp_path / "train", 10, count=5)
    for index in range(3):
        save(tmp_path / f"test/{index}.jpg", 200)
    real = load(str(tmp_path))
    assert len(real.test_images) == 2 and said(real, "held out")
    assert said(real, "not used").endswith("3 files are not used: test/0.jpg (no label) and 2 more")
    held_out = two_classes(tmp_path / "val", 50)
    real = load(str(tmp_path))
    assert of_test(real) == held_out
    assert said(real, "is the test set").endswith("test/ has no labels; val/ is the test set")


def test_all_that_is_not_used_is_counted_and_named(tmp_path):
    wanted = two_classes(tmp_path / "train", 10)
    two_classes(tmp_path / "test", 50)
    for name in ("extra/1.png", "extra/more/2.png", "__MACOSX/train/a/._0.png", "__MACOSX/x.png", "train/loose.png"):
        save(tmp_path / name, 200)
    for index in range(4):
        (tmp_path / f"train/a/{index}.heic").touch()
    (tmp_path / "readme.md").touch()
    (tmp_path / "train/a/.DS_Store").touch()
    save(tmp_path / "train/b/__MACOSX/1.png", 201)
    real = load(str(tmp_path))
    assert of_train(real) == wanted
    parts = "2 in extra/, 1 in __MACOSX/, readme.md, train/loose.png, train/a/0.heic and 3 more, 1 others"
    line = said(real, "not used")
    assert line.startswith(f"{tmp_path.name}: 10 files are not used: ")
    assert set(line.partition("used: ")[2].split(", ")) == set(parts.split(", "))


def test_a_testing_folder_without_train_is_no_class(tmp_path):
    two_classes(tmp_path / "testing", 10)
    two_classes(tmp_path, 50)
    with pytest.raises(UserError, match="has testing/ but no train/"):
        load(str(tmp_path))


def test_two_spellings_of_a_split_are_refused(tmp_path):
    two_classes(tmp_path / "train", 10)
    two_classes(tmp_path / "Train", 10)
    with pytest.raises(UserError, match="Train/ and train/; allowed is one of them"):
        load(str(tmp_path))


# ---- class folders


def test_images_in_sub_folders_of_classes_are_read(tmp_path):
    for index, name in enumerate(["a/2.png", "a/deep/er/1.png", "a/deep/0.png", "b/x/0.png", "b/y/0.png"]):
        save(tmp_path / "train" / name, 10 + index)
        save(tmp_path / "test" / name, 50 + index)
    real = load(str(tmp_path))
    assert of_train(real) == [("a", 10), ("a", 12), ("a", 11), ("b", 13), ("b", 14)]
    assert of_test(real) == [("a", 50), ("a", 52), ("a", 51), ("b", 53), ("b", 54)]


def test_folders_of_numbers_are_in_the_order_of_the_numbers(tmp_path):
    for label in range(12):
        save(tmp_path / f"train/{label}/0.png", label)
        save(tmp_path / f"test/{label}/0.png", 100 + label)
    real = load(str(tmp_path))
    assert real.class_names == tuple(str(label) for label in range(12))
    assert real.train_labels.tolist() == real.train_images[:, 0, 0, 0].tolist() == list(range(12))
    assert real.test_labels.tolist() == list(range(12))


def test_other_names_are_in_the_order_of_texts(tmp_path):
    for name in ("10", "9", "x"):
        save(tmp_path / f"train/{name}/0.png", 0)
        save(tmp_path / f"test/{name}/0.png", 0)
    assert load(str(tmp_path)).class_names == ("10", "9", "x")


def test_names_that_are_no_utf_8_are_escaped_and_stay_apart(tmp_path):
    for value, name in enumerate([b"caf\xe9", b"caf\xe8", b"caf", "茶".encode()]):
        save(tmp_path / "train" / os.fsdecode(name) / "0.png", value)
        save(tmp_path / "test" / os.fsdecode(name) / "0.png", 100 + value)
    real = load(str(tmp_path))
    assert of_train(real) == [("caf", 2), (r"caf\xe8", 1), (r"caf\xe9", 0), ("茶", 3)]
    assert of_test(real) == [("caf", 102), (r"caf\xe8", 101), (r"caf\xe9", 100), ("茶", 103)]


def test_a_test_split_may_lack_classes(tmp_path):
    two_classes(tmp_path / "train", 10)
    save(tmp_path / "train/c/0.png", 20)
    save(tmp_path / "test/b/0.png", 50)
    (tmp_path / "test/c").mkdir()
    real = load(str(tmp_path))
    assert of_test(real) == [("b", 50)] and real.class_names == ("a", "b", "c")
    assert said(real, "no images").endswith("test/ has no images of 2 of 3 classes: a, c")


def test_links_are_followed_once(tmp_path):
    save(tmp_path / "elsewhere/0.png", 30)
    save(tmp_path / "set/train/a/0.png", 10)
    save(tmp_path / "set/train/b/0.png", 20)
    for name, target in {
        "a/more": tmp_path / "elsewhere",
        "a/again": tmp_path / "elsewhere",
        "a/self": tmp_path / "set/train/a",
        "a/up": tmp_path / "set",
        "a/1.png": tmp_path / "elsewhere/0.png",
        "c": tmp_path / "elsewhere",
        "b/nowhere.png": tmp_path / "nowhere.png",
        "b/loop.png": tmp_path / "set/train/b/loop.png",
    }.items():
        (tmp_path / "set/train" / name).symlink_to(target)
    (tmp_path / "set/test").symlink_to(tmp_path / "set/train")
    real = load(str(tmp_path / "set"))
    assert of_train(real) == [("a", 10), ("a", 30), ("a", 30), ("b", 20), ("c", 30)]
    assert said(real, "not used", "b/loop.png and 3 more")  # two in each split


def test_one_image_per_class_says_what_to_do(tmp_path):
    two_classes(tmp_path, 10, count=1)
    with pytest.raises(UserError) as error:
        load(str(tmp_path))
    for words in ("each class has a single training image", "config.test_fraction=0", "config.evaluate.networks=0"):
        assert words in str(error.value)
    assert of_train(load(str(tmp_path), test_fraction=0.0)) == [("a", 10), ("b", 11)]


# ---- tables


def test_tiny_imagenet_as_it_is_downloaded(tmp_path):
    for place, wnid in enumerate(("n02", "n01")):
        for index in range(2):
            save(tmp_path / f"train/{wnid}/images/{wnid}_{index}.JPEG", 10 + 20 * place + 10 * index, quality=100)
        (tmp_path / f"train/{wnid}/{wnid}_boxes.txt").write_text("n02_0.JPEG\t0\t0\t62\t62\n")
    lines = []
    for index, wnid in enumerate(("n01", "n02", "n01")):
        save(tmp_path / f"val/images/val_{index}.JPEG", 100 + 10 * index, quality=100)
        lines.append(f"val_{index}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    (tmp_path / "val/val_annotations.txt").write_text("".join(lines))
    save(tmp_path / "test/images/test_0.JPEG", 200)
    (tmp_path / "words.txt").touch()
    real = load(str(tmp_path))
    assert of_train(real) == [("n01", 30), ("n01", 40), ("n02", 10), ("n02", 20)]
    assert of_test(real) == [("n01", 100), ("n01", 120), ("n02", 110)]
    assert said(real, "is the test set") and said(real, "val_annotations.txt")
    assert "words.txt and 2 more" in said(real, "4 files are not used", "test/images/test_0.JPEG (no label)")


TABLES = {
    "metadata.csv of imagefolder": ("train/metadata.csv", "train/{}.png", "file_name,label", "{}.png"),
    "with more columns": ("train/metadata.csv", "train/{}.png", "width,file_name,label", "3,{}.png"),
    "in a folder of images": ("train/metadata.csv", "train/images/{}.png", "file_name,label", "images/{}.png"),
    "Kaggle's train.csv": ("train.csv", "train/{}.jpg", "id,breed", "{}"),
    "its labels": ("trainLabels.csv", "train/{}.png", "id,label", "{}"),
    "semicolons and capitals": ("Train_labels.csv", "Train/{}.png", "Image Name;Target", "{}.png"),
    "tabs": ("train.tsv", "train/{}.png", "filename\tclass", "./{}.png"),
    "beside the images": ("labels.csv", "{}.png", "image,label", "{}"),
    "beside their folder": ("train.csv", "images/{}.png", "image_id,label", "{}"),
    "with the split in the name": ("metadata.csv", "train/{}.png", "file_name,label", "train/{}.png"),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_of_file_names_and_labels(tmp_path, case):
    table, file, head, name = TABLES[case]
    lines = ["\ufeff" + head]
    delimiter = next(sign for sign in ",;\t" if sign in head)
    # The table's order is neither that of the files nor that of the classes.
    for value in (40, 10, 30, 20, 60, 50):
        save(tmp_path / file.format(value), value, **({"quality": 100} if ".jpg" in file else {}))
        lines.append(f"{name.format(value)}{delimiter}{'cat' if value > 30 else 'dog'}")
    (tmp_path / table).write_text("\r\n".join(lines), encoding="utf-8")
    real = load(str(tmp_path), test_fraction=0.0)
    assert of_train(real) == [("cat", 40), ("cat", 50), ("cat", 60), ("dog", 10), ("dog", 20), ("dog", 30)]
    assert len(real.notes) == 1 and said(real, pathlib.Path(table).name, "columns")


def test_a_table_of_both_splits_that_does_not_match_all(tmp_path):
    for value in (10, 20, 30):
        save(tmp_path / f"train/{value}.png", value)
    save(tmp_path / "test/40.png", 40)
    rows = ["train/10.png,x", "train/20.png,y", "train/99.png,x", "train/30.png,", "test/40.png,y"]
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,label", *rows]))
    real = load(str(tmp_path))
    assert (of_train(real), of_test(real)) == ([("x", 10), ("y", 20)], [("y", 40)])
    assert said(real, "1 file is not used: train/30.png (no label)")
    assert said(real, "labels of train/") and said(real, "labels of test/")
    assert any("1 of 5 rows of metadata.csv name no image, such as 'train/99.png'" in note for note in real.notes)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["id,width", "1,3"], None),
        (["id,width,height", "1,3,3"], ["train.csv", "id, width, height", "label"]),
        (["file_name,label", "1.png,a", "1.png,b"], ["train.csv", "'1.png'", "'a' and 'b'"]),
        (["file_name,label", "7.png,a"], ["train.csv", "none of its 1 rows"]),
        ([], ["train.csv", "columns none"]),
    ],
)
def test_bad_tables(tmp_path, rows, words):
    for value in (1, 2):
        save(tmp_path / f"train/{value}.png", value)
    (tmp_path / "train.csv").write_text("\n".join(rows))
    if words is None:  # two columns are file names and labels, whatever the second is called
        assert of_train(load(str(tmp_path), test_fraction=0.0)) == [("3", 1)]
        return
    with pytest.raises(UserError) as error:
        load(str(tmp_path))
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)


def test_class_folders_come_before_a_table(tmp_path):
    wanted = two_classes(tmp_path / "train", 10)
    (tmp_path / "train.csv").write_text("file_name,label\na/0.png,z\n")
    real = load(str(tmp_path), test_fraction=0.0)
    assert of_train(real) == wanted and said(real, "1 file is not used: train.csv")
