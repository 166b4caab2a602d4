"""Metrics agree with numbers computed by hand."""

import numpy as np
import pytest

from models.evaluation.metrics import psnr, ssim

GREY = np.full((1, 16, 16, 3), 128, np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)


def test_psnr_of_one_level() -> None:
    """A mean squared error of 1 is 20 log10(255) dB."""
    assert psnr(GREY, GREY + 1)[0] == pytest.approx(20 * np.log10(255))


def test_equal_pictures_have_the_highest_psnr() -> None:
    """100 dB stands for no difference."""
    assert psnr(NOISE, NOISE)[0] == 100


def test_psnr_looks_only_under_its_mask() -> None:
    """What differs outside of the mask does not count."""
    other = GREY.copy()
    other[:, :8] = 0
    mask = np.zeros((1, 16, 16), bool)
    mask[:, 8:] = True
    assert psnr(GREY, other, mask)[0] == 100
    assert psnr(GREY, other)[0] < 20


def test_ssim_of_a_picture_with_itself_is_one() -> None:
    """Identity scores 1."""
    assert ssim(NOISE, NOISE)[0] == pytest.approx(1)


def test_ssim_of_two_flat_pictures() -> None:
    """Without structure only the luminance term is left: (2ab + C1) / (a^2 + b^2 + C1)."""
    c1 = (0.01 * 255) ** 2
    expected = (2 * 128 * 64 + c1) / (128**2 + 64**2 + c1)
    assert ssim(GREY, GREY // 2)[0] == pytest.approx(expected)


def test_ssim_of_independent_noise_is_near_zero() -> None:
    """Unrelated pictures share no structure."""
    other = np.random.default_rng(1).integers(0, 256, NOISE.shape, np.uint8)
    assert abs(ssim(NOISE, other)[0]) < 0.1
