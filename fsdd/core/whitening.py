"""Per-channel standardisation and regularised ZCA: between pixels in [0, 1] and the space that networks see."""

import dataclasses
import math

import jax
import numpy as np

# Mean and standard deviation of red, green and blue in DC's code, which DSA, DM, MTT, IDC and DC-BENCH share. Those of
# CIFAR-10's pixels are .247, .2435 and .2616: what these standardise is a quarter larger. MTT and IDC have them for
# CIFAR-100 as well.
CONSTANTS = {
    "dc_cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "dc_cifar100": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
}
# "mtt_zca" is ZCA of pixels that are not standardised, as kornia has it and MTT uses it.
KINDS = ("auto", "zca", "mtt_zca", "standardize", *CONSTANTS)
# What each form of a whitening has besides the channels' mean and deviation.
ARRAYS = {
    "standardize": (),
    "zca": ("mean", "transform", "inverse"),
    "zca_factors": ("mean", "factors", "weights", "scale"),
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Whitening:
    """An affine, invertible map of images, fitted on a training split.

    Whitened = ((pixels - channel_mean) / channel_std - mean) @ transform on the flattened image, d = h*w*c. Of images
    that are far fewer than they have values, the matrices are never formed: with F the `factors` of n images,

        transform = I / scale - F^T diag(weights[0]) F,    inverse = I scale + F^T diag(weights[1]) F.

    Attributes:
        channel_mean: `[c]`.
        channel_std: `[c]`.
        mean: `[d]` mean of the standardised images, or None: standardisation only.
        transform: `[d, d]`, or None.
        inverse: `[d, d]`, or None.
        factors: `[n, d]`, or None.
        weights: `[2, n]`, or None.
        scale: `[]`, or None.
    """

    channel_mean: np.ndarray
    channel_std: np.ndarray
    mean: np.ndarray | None = None
    transform: np.ndarray | None = None
    inverse: np.ndarray | None = None
    factors: np.ndarray | None = None
    weights: np.ndarray | None = None
    scale: np.ndarray | None = None

    @property
    def kind(self) -> str:
        """`"zca"` or `"standardize"`."""
        return "standardize" if self.mean is None else "zca"

    @property
    def form(self) -> str:
        """`kind`, or `"zca_factors"` where there are factors instead of matrices: a key of `ARRAYS`."""
        return "zca_factors" if self.factors is not None else self.kind

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of ZCA by name."""
        return {name: getattr(self, name) for name in ARRAYS[self.form]}

    def forward_arrays(self) -> dict[str, np.ndarray]:
        """What `apply` needs, by name: mean and deviation `[c]` of channels, and ZCA's arrays but for the inverse."""
        channels = {"channel_mean": self.channel_mean, "channel_std": self.channel_std}
        return channels | {name: array for name, array in self.arrays().items() if name != "inverse"}

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Whiten `[n, h, w, c]` pixels, uint8 or float in [0, 1] -> float32 of that shape.

        Arrays on a device work too, here and in the pixels: what is compiled takes the whitening as an argument.
        """
        images = (_unit(pixels) - self.channel_mean) / self.channel_std
        if self.mean is not None:
            flat = images.reshape(len(images), -1) - self.mean
            images = self._times(flat, self.transform, 0).reshape(pixels.shape)
        return images

    def invert(self, images: np.ndarray) -> np.ndarray:
        """Pixels float32 `[n, h, w, c]` of whitened images; those of synthetic images may leave [0, 1]."""
        images = np.asarray(images, np.float32)
        if self.mean is not None:
            flat = self._times(images.reshape(len(images), -1), self.inverse, 1)
            images = (flat + self.mean).reshape(images.shape)
        return images * self.channel_std + self.channel_mean

    def _times(self, flat: np.ndarray, matrix: np.ndarray | None, which: int) -> np.ndarray:
        """`[n, d]` images times `transform`, which is 0, or `inverse`, which is 1."""
        if self.factors is None:
            return flat @ matrix
        within = ((flat @ self.factors.T) * self.weights[which]) @ self.factors
        return flat * self.scale + within if which else flat / self.scale - within


def quantise(pixels: np.ndarray) -> np.ndarray:
    """Float pixels `[n, h, w, c]`, those outside [0, 1] brought to its ends, rounded to uint8."""
    return np.rint(np.clip(pixels, 0, 1) * np.float32(255)).astype(np.uint8)


def _unit(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / np.float32(255) if pixels.dtype == np.uint8 else pixels.astype(np.float32)


def _moments(pixels: np.ndarray, rows: int = 4096) -> tuple[np.ndarray, np.ndarray]:
    """Mean `[d]` and covariance `[d, d]` (divided by n) of flattened pixels, in one pass.

    Products run in float32 over a few thousand rows at a time and are summed in float64: close to float64's figures
    at float32's speed and a fraction of its memory. Pixels are centred at 1/2 first, so that little cancels.
    """
    d = int(np.prod(pixels.shape[1:]))
    total, products = np.zeros(d), np.zeros((d, d))
    for start in range(0, len(pixels), rows):
        chunk = _unit(pixels[start : start + rows]).reshape(-1, d) - np.float32(0.5)
        total += chunk.sum(0, dtype=np.float64)
        products += chunk.T @ chunk
    mean = total / len(pixels)
    return mean + 0.5, products / len(pixels) - np.outer(mean, mean)


def fit(pixels: np.ndarray, kind: str = "auto", regularisation: float = 0.1) -> Whitening:
    """Fit a whitening on training pixels.

    Args:
        pixels: `[n, h, w, c]`, uint8 or float in [0, 1].
        kind: one of `KINDS`; "auto" is ZCA for colour and standardisation alone for grey images, as FRePo has it;
            those of `CONSTANTS`, for three channels, fit nothing.
        regularisation: added to the covariance's eigenvalues, times their mean; for "mtt_zca" as it is.

    Fewer images than they have values, n < d, are fitted by their n x n products, at a cost of n d^2 instead of d^3;
    fewer than half as many keep their factors instead of the matrices `[d, d]`, which cost more to apply then.
    """
    if kind in CONSTANTS:
        return Whitening(*_float32(*CONSTANTS[kind]))
    if _standardizes(kind, pixels):
        return Whitening(*_float32(*_channel_statistics(pixels)))
    if kind == "mtt_zca":
        return _fit_unscaled(pixels, regularisation)
    return (_fit_few if _are_few(pixels) else _fit_many)(pixels, regularisation)


def fitting_bytes(pixels: np.ndarray, kind: str = "auto") -> int:
    """Memory that `fit` takes beside the pixels `[n, h, w, c]`, about: the matrices that it holds at once."""
    if _standardizes(kind, pixels):
        return 0
    few = _are_few(pixels) and kind != "mtt_zca"
    if few and _keeps_factors(pixels):
        # The images, their factors and a product on the way.
        return 12 * math.prod(pixels.shape)
    # Of few images three in float32; of many as many in float64, and those of their eigenvectors.
    return (12 if few else 32) * math.prod(pixels.shape[1:]) ** 2


def _standardizes(kind: str, pixels: np.ndarray) -> bool:
    return kind in ("standardize", *CONSTANTS) or (kind == "auto" and pixels.shape[-1] == 1)


def _are_few(pixels: np.ndarray) -> bool:
    return len(pixels) < math.prod(pixels.shape[1:])


def _keeps_factors(pixels: np.ndarray) -> bool:
    return 2 * len(pixels) < math.prod(pixels.shape[1:])


def _fit_many(pixels: np.ndarray, regularisation: float) -> Whitening:
    """ZCA by the covariance, `[d, d]`."""
    pixel_mean, covariance = _moments(pixels)
    # Channel statistics follow from the pixelwise moments: no second pass over the images.
    by_channel = pixel_mean.reshape(-1, pixels.shape[-1])
    channel_mean = by_channel.mean(0)
    second = (np.diag(covariance).reshape(by_channel.shape) + np.square(by_channel)).mean(0)
    channel_std = _positive(np.sqrt(np.maximum(second - np.square(channel_mean), 0)))
    divisor = np.tile(channel_std, len(by_channel))
    mean = (pixel_mean - np.tile(channel_mean, len(by_channel))) / divisor
    covariance /= np.outer(divisor, divisor)
    roots = _roots(covariance, regularisation * np.trace(covariance) / len(covariance))
    return Whitening(*_float32(channel_mean, channel_std, mean, *roots))


def _fit_unscaled(pixels: np.ndarray, added: float) -> Whitening:
    """ZCA of pixels as they are: minus the mean image, by the unbiased covariance with `added` to its eigenvalues."""
    mean, covariance = _moments(pixels)
    channels = pixels.shape[-1]
    roots = _roots(covariance * (len(pixels) / (len(pixels) - 1)), added)
    return Whitening(*_float32(np.zeros(channels), np.ones(channels), mean, *roots))


def _roots(covariance: np.ndarray, added: float) -> tuple[np.ndarray, np.ndarray]:
    """The root of the inverse of a covariance `[d, d]` with so much added to its eigenvalues, and the root itself."""
    values, vectors = np.linalg.eigh(covariance.astype(np.float32))
    root = np.sqrt(np.maximum(values, 0) + added).astype(np.float32)
    return (vectors / root) @ vectors.T, (vectors * root) @ vectors.T


def _fit_few(pixels: np.ndarray, regularisation: float) -> Whitening:
    """ZCA of fewer images than they have values, by their products with each other, `[n, n]`.

    With X the standardised, centred images `[n, d]`, X X^T / n = V diag(l) V^T and r what is added to eigenvalues,

        transform = I / sqrt(r) - X^T V diag(1 / (n sqrt(r) sqrt(l + r) (sqrt(l + r) + sqrt(r)))) V^T X
        inverse = I sqrt(r) + X^T V diag(1 / (n (sqrt(l + r) + sqrt(r)))) V^T X

    which never divide by an eigenvalue.
    """
    channel_mean, channel_std = _channel_statistics(pixels)
    images = ((_unit(pixels) - channel_mean.astype(np.float32)) / channel_std.astype(np.float32)).reshape(
        len(pixels), -1
    )
    mean = images.mean(0, dtype=np.float64).astype(np.float32)
    images -= mean
    n, d = images.shape
    values, vectors = np.linalg.eigh(images @ images.T / n)
    added = regularisation * values.sum() / d
    root, least = np.sqrt(np.maximum(values, 0) + added), np.sqrt(added)
    within = vectors.T @ images
    if _keeps_factors(pixels):
        weights = np.stack([1 / (n * least * root * (root + least)), 1 / (n * (root + least))])
        fitted = _float32(channel_mean, channel_std, mean, within, weights, least)
        return Whitening(*fitted[:3], factors=fitted[3], weights=fitted[4], scale=fitted[5])
    transform = -within.T @ (within / (n * least * root * (root + least))[:, None])
    inverse = within.T @ (within / (n * (root + least))[:, None])
    transform[np.diag_indices(d)] += 1 / least
    inverse[np.diag_indices(d)] += least
    return Whitening(*_float32(channel_mean, channel_std, mean, transform, inverse))


def _channel_statistics(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation `[c]` of pixels in [0, 1]."""
    flat, scale = pixels.reshape(-1, pixels.shape[-1]), 255.0 if pixels.dtype == np.uint8 else 1.0
    return flat.mean(0, dtype=np.float64) / scale, _positive(flat.std(0, dtype=np.float64) / scale)


def _positive(std: np.ndarray) -> np.ndarray:
    """A channel without variance is left as it is instead of divided by zero."""
    return np.where(std > 0, std, 1.0)


def _float32(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(array, np.float32) for array in arrays)
