"""Metrics agree with numbers computed by hand."""

import numpy as np
import pytest

from models.evaluation.metrics import l1, psnr, ssim

GREY = np.full((1, 16, 16, 3), 128, np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)


def test_l1_is_in_levels() -> None:
    """A quarter of the pixels 8 levels off are 2 levels on average, whatever the sign."""
    other = GREY.copy()
    other[:, :4] -= 8
    assert l1(GREY, other)[0] == l1(other, GREY)[0] == 2


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


def test_many_pictures_are_measured_as_one_by_one() -> None:
    """Pictures are taken in parts, and none is lost or mixed up."""
    random = np.random.default_rng(2)
    a, b = random.integers(0, 256, (2, 70, 16, 16, 3), np.uint8)
    mask = random.random((70, 16, 16)) < 0.5
    for metric in (l1, psnr, ssim):
        assert metric(a, b) == pytest.approx([metric(a[i : i + 1], b[i : i + 1])[0] for i in range(70)])
    assert psnr(a, b, mask)[69] == pytest.approx(psnr(a[69:], b[69:], mask[69:])[0])


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
