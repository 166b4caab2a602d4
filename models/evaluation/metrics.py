"""Picture metrics on uint8 RGB pictures, n x h x w x 3, one value a picture."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Values = NDArray[np.float64]


def psnr(a: Pixels, b: Pixels, mask: NDArray[np.bool_] | None = None) -> Values:
    """Peak signal to noise ratio in dB, over the pixels of `mask` n x h x w; 100 dB stands for equal pictures."""
    squared = np.square(a.astype(np.float64) - b.astype(np.float64)).mean(axis=-1)
    weights = np.ones_like(squared) if mask is None else mask.astype(np.float64)
    error = (squared * weights).sum((1, 2)) / np.maximum(weights.sum((1, 2)), 1)
    decibels: Values = np.minimum(100.0, 10 * np.log10(255.0**2 / np.maximum(error, 1e-12)))
    return decibels


def ssim(a: Pixels, b: Pixels) -> Values:
    """Structural similarity (Wang et al., 2004) of the luminance, with their 11-pixel Gaussian window of 1.5."""
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
