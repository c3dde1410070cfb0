"""Train a network of your own on a distilled set, in PyTorch and NumPy alone, and test it on real images.

python docs/train_in_pytorch.py runs/digits test.npz

`test.npz` has images [n, h, w, c], uint8 or floats in [0, 1], and integer labels [n]. The accuracy agrees with that of
`fsdd.evaluate` within its spread: whitened images, learned labels, a squared loss and light augmentation matter.
"""

import json
import math
import pathlib
import sys

import numpy as np
import torch
from torch import nn

run, test = pathlib.Path(sys.argv[1]), np.load(sys.argv[2])
stored, about = np.load(run / "synthetic.npz"), json.loads((run / "synthetic.json").read_text())
config = about["provenance"]["config"]  # of the run that made the set
images = torch.from_numpy(stored["train_images"]).permute(0, 3, 1, 2)  # whitened, as they were learned
labels = torch.from_numpy(stored["train_labels"])  # learned, and centred: no probabilities


def whiten(pixels):  # test images [n, h, w, c] have to pass through the set's whitening
    pixels = pixels.astype("float32") / (255 if pixels.dtype == np.uint8 else 1)
    pixels = (pixels - stored["channel_mean"]) / stored["channel_std"]
    if (run / "synthetic.whitening.npz").is_file():  # ZCA; images are flattened in the order h, w, c
        matrices = np.load(run / "synthetic.whitening.npz")
        flat = pixels.reshape(len(pixels), -1) - matrices["mean"]
        if "factors" in matrices:  # of few images, whose matrix would be far larger
            within = ((flat @ matrices["factors"].T) * matrices["weights"][0]) @ matrices["factors"]
            pixels = (flat / matrices["scale"] - within).reshape(pixels.shape)
        else:
            pixels = (flat @ matrices["transform"]).reshape(pixels.shape)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def augment(x):  # one kind a step: turned, scaled, shifted, other contrast and brightness, or a square cut out
    draw, kind, side = torch.rand(5, len(x), 1) * 2 - 1, torch.randint(5, ()), torch.arange(x.shape[2])
    if kind == 3:
        mean, (contrast, brightness) = x.mean((1, 2, 3), keepdim=True), draw[:2, :, :, None, None] / 2
        x = (x - mean) * (1 + contrast) + mean + brightness
    if kind == 4:
        near = [(side - (1 + centre) / 2 * len(side) + 0.5).abs() < len(side) / 4 for centre in draw[:2]]
        x = x * ~(near[0][:, None, :, None] & near[1][:, None, None, :])
    angle, scale = draw[0] * math.radians(15) * (kind == 0), 1.2 ** (draw[1:3] * (kind == 1))
    whole = (draw[3:5] * (len(side) // 8 + 0.5)).round() * 2 / len(side)  # by up to an eighth, in whole pixels
    shift, sign = whole * (kind == 2), torch.where((draw[0] > 0) & config["mirror"], -1.0, 1.0)
    rows = [sign * angle.cos() * scale[0], -angle.sin(), shift[0], sign * angle.sin(), angle.cos() * scale[1], shift[1]]
    grid = nn.functional.affine_grid(torch.cat(rows, 1).reshape(-1, 2, 3), x.shape, align_corners=False)
    return nn.functional.grid_sample(x, grid, align_corners=False)


def network(width=config["evaluate.width"] or config["network.width"], depth=3):
    channels, side, layers = images.shape[1], images.shape[2], []
    for block in range(depth):
        layers += [nn.Conv2d(channels, channels := width * 2**block, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)]
        side //= 2
    layers += [nn.Flatten(), nn.Linear(channels * side**2, labels.shape[1])]
    for layer in layers:  # PyTorch's own initialisation, of a third of this variance, learns less
        if hasattr(layer, "weight"):
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5), nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


accuracies, steps, batch = [], config["evaluate.steps"] or 1000, 500  # 2,000 for 100 images, 10,000 for 1,000
for seed in range(3):
    torch.manual_seed(seed)
    model = network()
    optimiser = torch.optim.Adam(model.parameters(), 3e-4)
    ramp = {"pct_start": 0.1, "div_factor": 1e3, "final_div_factor": 0.1, "cycle_momentum": False}
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-4, steps, **ramp)
    for _ in range(steps):
        chosen = torch.randperm(len(images))[:batch]
        loss = 0.5 * (model(augment(images[chosen])) - labels[chosen]).square().sum(1).mean()
        optimiser.zero_grad(), loss.backward(), optimiser.step(), rates.step()
    with torch.no_grad():
        right = model(whiten(test["images"])).argmax(1).numpy() == test["labels"]
    accuracies.append(100 * right.mean())
print(f"accuracy: {np.mean(accuracies):.2f} +- {np.std(accuracies, ddof=1):.2f} %")
