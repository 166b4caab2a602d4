"""Metrics on arrays: between two pictures (L1, PSNR, SSIM), and between two sets of features (FID, KID).

Pictures are uint8 RGB n x h x w x 3, with one value a picture; features are float64 n x d, one value for two sets.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError

Pixels = NDArray[np.uint8]
Values = NDArray[np.float64]
Vectors = NDArray[np.float64]
Masks = NDArray[np.bool_]

SUBSETS = 100
SUBSET = 1000

_BATCH = 32  # pictures at a time: in 64 bits, a thousand would take gigabytes


def l1(a: Pixels, b: Pixels) -> Values:
    """Mean absolute difference in levels of 0 to 255."""
    return _in_batches(len(a), lambda rows: np.abs(a[rows].astype(np.float64) - b[rows]).mean(axis=(1, 2, 3)))


def psnr(a: Pixels, b: Pixels, mask: Masks | None = None) -> Values:
    """Peak signal to noise ratio in dB, over the pixels of `mask` n x h x w; 100 dB stands for equal pictures."""

    def measure(rows: slice) -> Values:
        squared = np.square(a[rows].astype(np.float64) - b[rows]).mean(axis=-1)
        inside = np.ones(squared.shape, bool) if mask is None else mask[rows]
        error = (squared * inside).sum((1, 2)) / np.maximum(inside.sum((1, 2)), 1)
        decibels: Values = np.minimum(100.0, 10 * np.log10(255.0**2 / np.maximum(error, 1e-12)))
        return decibels

    return _in_batches(len(a), measure)


def ssim(a: Pixels, b: Pixels) -> Values:
    """Structural similarity (Wang et al., 2004) of the luminance, with their 11-pixel Gaussian window of 1.5."""

    def measure(rows: slice) -> Values:
        x, y = (pixels[rows].astype(np.float64) @ np.array([0.299, 0.587, 0.114]) for pixels in (a, b))
        mean_x, mean_y = _blur(x), _blur(y)
        var_x = _blur(x * x) - mean_x**2
        var_y = _blur(y * y) - mean_y**2
        covariance = _blur(x * y) - mean_x * mean_y
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # the paper's constants, which keep the division stable
        similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
        similarity /= (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
        result: Values = similarity.mean((1, 2))
        return result

    return _in_batches(len(a), measure)


def fid(a: Vectors, b: Vectors) -> float:
    """Fréchet distance of two Gaussians (Heusel et al., 2017): |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)).

    C_a C_b is not symmetric, but has the eigenvalues of C_a^(1/2) C_b C_a^(1/2), which is: so the square root is real
    also for sets with fewer pictures than features, whose covariances are singular, and no offset is needed.
    DataError for fewer than 2 pictures.
    """
    _check(a, b)
    covariance_a, covariance_b = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (a, b))
    values, vectors = np.linalg.eigh(covariance_a)
    # Rounding makes the zero eigenvalues of a singular covariance slightly negative, here and below.
    root: Vectors = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    eigenvalues = np.linalg.eigvalsh(root @ covariance_b @ root)
    overlap = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    apart = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    return max(0.0, float(apart + np.square(root).sum() + np.trace(covariance_b) - 2 * overlap))


def kid(a: Vectors, b: Vectors, subsets: int = SUBSETS, subset: int = SUBSET, seed: int = 0) -> float:
    """Kernel distance (Bińkowski et al., 2018): the unbiased MMD^2 with the kernel (x.y / d + 1)^3, mean over subsets.

    Subsets are drawn without replacement, `subset` pictures of each set; if no set has more, all are used once. Without
    bias, two sets of one distribution give 0 on average, and so a negative value about half of the time. DataError for
    fewer than 2 pictures.
    """
    _check(a, b)
    # Small sets are compared whole: subsets of them would be the same pictures again and again.
    if max(len(a), len(b)) <= subset:
        return _squared_discrepancy(a, b)
    size = min(len(a), len(b), subset)
    random = np.random.default_rng(seed)
    drawn = (
        _squared_discrepancy(*(features[random.choice(len(features), size, replace=False)] for features in (a, b)))
        for _ in range(subsets)
    )
    return float(np.mean(list(drawn)))


def _in_batches(count: int, measure: Callable[[slice], Values]) -> Values:
    return np.concatenate([measure(slice(start, start + _BATCH)) for start in range(0, count, _BATCH)])


def _blur(images: Values) -> Values:
    """Convolves images n x h x w with SSIM's window, only where it lies inside the picture."""
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    for axis in (1, 2):
        views = np.lib.stride_tricks.sliding_window_view(images, 11, axis=axis)
        images = views @ window
    return images


def _squared_discrepancy(x: Vectors, y: Vectors) -> float:
    """MMD_u^2 of n and m features; a picture is not compared with itself."""
    return float(_within(x) + _within(y) - 2 * _kernel(x, y).mean())


def _within(x: Vectors) -> float:
    kernel, n = _kernel(x, x), len(x)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))


def _kernel(x: Vectors, y: Vectors) -> Vectors:
    kernel: Vectors = (x @ y.T / x.shape[1] + 1) ** 3
    return kernel


def _check(a: Vectors, b: Vectors) -> None:
    if min(len(a), len(b)) < 2:
        raise DataError(f"sets of {len(a)} and {len(b)} pictures have no distance; take at least 2 of each")
