"""The lines of Python, in the description of a stored set, that load it for PyTorch as it is meant to be used."""

from typing import Any

_LOSSES = {
    "half squared": "0.5 * (outputs - targets).square().sum(1).mean()",
    "mean squared": "(outputs - targets).square().mean()",
    "cross-entropy": "torch.nn.functional.cross_entropy(outputs, targets.argmax(1))",
}
# What `flat`, the images as rows, passes through.
_PRODUCTS = {
    "zca": ["    flat = (flat - matrices['mean']) @ matrices['transform']"],
    "zca_factors": [
        "    flat, factors = flat - matrices['mean'], matrices['factors']",
        "    flat = flat / matrices['scale'] - ((flat @ factors.T) * matrices['weights'][0]) @ factors",
    ],
}


def loss_of(provenance: dict[str, Any]) -> str:
    """The loss by which a set's run scored it: "half squared", "mean squared" or "cross-entropy"."""
    config = provenance.get("config")
    config = config if isinstance(config, dict) else {}
    if config.get("evaluate.loss") == "cross_entropy":
        return "cross-entropy"
    return "mean squared" if config.get("evaluate.mean_over_classes") else "half squared"


def lines(name: str, whitening: str, loss: str) -> list[str]:
    """Lines that load what to train on, map test images to the same space and define the loss.

    Args:
        name: the set's `.npz` file; its ZCA matrices lie beside it.
        whitening: its form, a key of `fsdd.core.whitening.ARRAYS`.
        loss: what `loss_of` returns.
    """
    mapped = "images = (images - stored['channel_mean']) / stored['channel_std']  # [n, h, w, c], in [0, 1] before"
    last = ["    return torch.from_numpy(images.astype('float32')).permute(0, 3, 1, 2)"]
    matrices, product = [], []
    if whitening != "standardize":
        matrices = [f"matrices = numpy.load({name.removesuffix('.npz') + '.whitening.npz'!r})"]
        product = [
            "    flat = images.reshape(len(images), -1)  # in the order h, w, c",
            *_PRODUCTS[whitening],
            "    images = flat.reshape(images.shape)",
        ]
    return [
        "import numpy, torch",
        f"stored = numpy.load({name!r})",
        *matrices,
        "# Train on these: whitened images [n, c, h, w] and learned labels [n, classes], by this loss.",
        "images = torch.from_numpy(stored['train_images']).permute(0, 3, 1, 2)",
        "labels = torch.from_numpy(stored['train_labels'])",
        f"loss = lambda outputs, targets: {_LOSSES[loss]}",
        "# Test images, floats in [0, 1] of shape [n, h, w, c], have to pass through this.",
        "def whiten(images):",
        f"    {mapped}",
        *product,
        *last,
    ]
