"""Picture metrics on uint8 RGB pictures, n x h x w x 3, one value a picture."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Values = NDArray[np.float64]
_TOGETHER = 32


def l1(a: Pixels, b: Pixels) -> Values:
    """Mean absolute difference in levels of 0 to 255."""
    return _in_parts(_l1, a, b)


def psnr(a: Pixels, b: Pixels, mask: NDArray[np.bool_] | None = None) -> Values:
    """Peak signal to noise ratio in dB, over the pixels of `mask` n x h x w; 100 dB stands for equal pictures."""
    return _in_parts(_psnr, a, b, np.ones(a.shape[:3], bool) if mask is None else mask)


def ssim(a: Pixels, b: Pixels) -> Values:
    """Structural similarity (Wang et al., 2004) of the luminance, with their 11-pixel Gaussian window of 1.5."""
    return _in_parts(_ssim, a, b)


def _in_parts(metric: Callable[..., Values], *arrays: NDArray[Any]) -> Values:
    """A few pictures at a time: in 64 bits, a thousand would take gigabytes."""
    starts = range(0, len(arrays[0]), _TOGETHER)
    return np.concatenate([metric(*(array[start : start + _TOGETHER] for array in arrays)) for start in starts])


def _l1(a: Pixels, b: Pixels) -> Values:
    distance: Values = np.abs(a.astype(np.float64) - b).mean(axis=(1, 2, 3))
    return distance


def _psnr(a: Pixels, b: Pixels, mask: NDArray[np.bool_]) -> Values:
    squared = np.square(a.astype(np.float64) - b).mean(axis=-1)
    error = (squared * mask).sum((1, 2)) / np.maximum(mask.sum((1, 2)), 1)
    decibels: Values = np.minimum(100.0, 10 * np.log10(255.0**2 / np.maximum(error, 1e-12)))
    return decibels


def _ssim(a: Pixels, b: Pixels) -> Values:
    x, y = _luminance(a), _luminance(b)
    mean_x, mean_y = _blur(x), _blur(y)
    var_x = _blur(x * x) - mean_x**2
    var_y = _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity /= (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    result: Values = similarity.mean((1, 2))
    return result


def _luminance(pixels: Pixels) -> Values:
    result: Values = pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return result


def _blur(images: Values) -> Values:
    """Convolves with the window; only where it lies inside the picture."""
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    for axis in (1, 2):
        views = np.lib.stride_tricks.sliding_window_view(images, 11, axis=axis)
        images = views @ window
    return images
