"""A set of 64 x 64 colour images that a package registry has: emoji, by what they show, drawn by two vendors.

    npm pack emoji-datasource-google emoji-datasource-twitter
    python -m experiments.emoji64 emoji-datasource-google-*.tgz emoji-datasource-twitter-*.tgz --out emoji64
    python -m fsdd.main --config=configs/folder64.py --config.dataset=emoji64

Nine classes, 1,900 emoji of each vendor on white, without skin tones. A fifth is held out for the test, by emoji:
no vendor's drawing of a test emoji is trained on. The drawings are their vendors' (Noto: Apache-2.0, Twemoji: CC BY
4.0) and do not come with this repository.
"""

import argparse
import io
import json
import pathlib
import tarfile

import numpy as np
from PIL import Image

SIDE = 64


def images(package: pathlib.Path) -> dict[str, tuple[str, Image.Image]]:
    """Of one vendor's package, file name -> category and picture."""
    with tarfile.open(package) as tar:
        listed = json.load(tar.extractfile("package/emoji.json"))
        files = {pathlib.PurePosixPath(name).name: name for name in tar.getnames() if f"/{SIDE}/" in name}
        found = {}
        for one in listed:
            if one["category"] != "Component" and one["image"] in files:
                data = tar.extractfile(files[one["image"]]).read()
                found[one["image"]] = one["category"], Image.open(io.BytesIO(data)).convert("RGBA")
    return found


def main() -> None:
    """Write `OUT/train/<category>/*.png` and `OUT/test/...`."""
    parser = argparse.ArgumentParser(prog="python -m experiments.emoji64")
    parser.add_argument("packages", nargs="+", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("emoji64"))
    arguments = parser.parse_args()
    vendors = {package.name.split("-")[2]: images(package) for package in arguments.packages}
    names = sorted(set.union(*(set(found) for found in vendors.values())))
    tested = set(np.random.default_rng(0).permutation(names)[: len(names) // 5].tolist())
    for vendor, found in vendors.items():
        for name, (category, image) in found.items():
            folder = arguments.out / ("test" if name in tested else "train") / category.replace(" & ", "_and_")
            folder.mkdir(parents=True, exist_ok=True)
            white = Image.new("RGBA", image.size, "white")
            Image.alpha_composite(white, image).convert("RGB").save(folder / f"{vendor}_{name}")
    print(f"{arguments.out}: {sum(map(len, vendors.values()))} images, {len(tested)} emoji for the test")


if __name__ == "__main__":
    main()
