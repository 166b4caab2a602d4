"""Metrics agree with numbers computed by hand, and have the properties that make them useful."""

import numpy as np
import pytest

from models.errors import DataError
from models.evaluation.metrics import Vectors, fid, kid, l1, psnr, ssim

GREY = np.full((1, 16, 16, 3), 128, np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)


def test_l1_is_in_levels() -> None:
    """A quarter of the pixels off by 8 levels, up or down, gives 2 levels on average."""
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
    """Differences outside the mask do not count."""
    other = GREY.copy()
    other[:, :8] = 0
    mask = np.zeros((1, 16, 16), bool)
    mask[:, 8:] = True
    assert psnr(GREY, other, mask)[0] == 100
    assert psnr(GREY, other)[0] < 20


def test_many_pictures_are_measured_as_one_by_one() -> None:
    """Batches give the same values as single pictures, in order."""
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


def gaussian(mean: list[float], deviations: list[float], count: int = 400, seed: int = 0) -> Vectors:
    """A set whose sample mean and (unbiased) covariance are exactly those of independent features."""
    draws = np.random.default_rng(seed).normal(size=(count, len(mean)))
    draws -= draws.mean(axis=0)
    whitened = draws @ np.linalg.inv(np.linalg.cholesky(np.cov(draws, rowvar=False))).T
    return whitened * deviations + mean


def test_fid_of_a_set_with_itself_is_zero() -> None:
    """This holds with fewer pictures than features too, where the covariance is singular."""
    few = np.random.default_rng(0).normal(size=(20, 64))
    assert fid(few, few) == pytest.approx(0, abs=1e-5)
    assert fid(gaussian([1, 2], [3, 4]), gaussian([1, 2], [3, 4], seed=1)) == pytest.approx(0, abs=1e-9)


def test_fid_of_two_known_gaussians() -> None:
    """Independent features: |m_a - m_b|^2 + sum (s_a - s_b)^2 = (9 + 16) + (1 + 4)."""
    assert fid(gaussian([0, 0], [1, 2]), gaussian([3, 4], [2, 4], seed=1)) == pytest.approx(30)


def test_fid_of_covariances_that_do_not_commute() -> None:
    """The trace of the root is the sum of the roots of C_a C_b's two eigenvalues, from its trace and determinant."""
    a, b = gaussian([0, 0], [1, 3]), gaussian([0, 0], [1, 1], seed=1) @ np.array([[1.0, 1.0], [0.0, 1.0]])
    product = np.array([[1.0, 0.0], [0.0, 9.0]]) @ np.array([[1.0, 1.0], [1.0, 2.0]])
    trace, determinant = product.trace(), 9.0
    roots = np.sqrt(trace + 2 * np.sqrt(determinant))  # (sqrt l1 + sqrt l2)^2 = l1 + l2 + 2 sqrt(l1 l2)
    assert fid(a, b) == pytest.approx(10 + 3 - 2 * roots)


def test_fid_is_symmetric_and_ignores_rotations() -> None:
    """Neither the order of the sets nor the features' axes matter."""
    random = np.random.default_rng(3)
    a, b = random.normal(size=(50, 8)), random.normal(size=(40, 8)) * 2 + 1
    turn = np.linalg.qr(random.normal(size=(8, 8)))[0]
    assert fid(a, b) == pytest.approx(fid(b, a))
    assert fid(a, b) == pytest.approx(fid(a @ turn, b @ turn))


def test_kid_by_hand() -> None:
    """Features 0, 1 and 2, 3 with (xy + 1)^3: 1 + 343 - 2 (1 + 1 + 27 + 64) / 4."""
    assert kid(np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])) == pytest.approx(297.5)


def test_kid_is_unbiased() -> None:
    """Small sets of one distribution have 0 on average, and are below 0 about half of the time; FID has a bias."""
    random = np.random.default_rng(0)
    halves = [np.split(random.normal(size=(40, 4)), 2) for _ in range(400)]
    values = np.array([kid(a, b) for a, b in halves])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))
    assert 0.3 < (values < 0).mean() < 0.8
    assert np.mean([fid(a, b) for a, b in halves]) > 0.1


def test_kid_takes_subsets_of_larger_sets() -> None:
    """The mean over subsets is near the value of the whole, the same every time, and sets may differ in size."""
    random = np.random.default_rng(1)
    a, b = random.normal(size=(300, 4)), random.normal(size=(200, 4)) + 1
    value = kid(a, b, subset=50)
    assert value == kid(a, b, subset=50)
    assert value == pytest.approx(kid(a[:200], b), rel=0.2)


def test_too_few_pictures_have_no_distance() -> None:
    """One picture has no spread; the sizes of both sets are named."""
    one, two = np.zeros((1, 4)), np.zeros((2, 4))
    for distance in (fid, kid):
        with pytest.raises(DataError, match="sets of 2 and 1 pictures"):
            distance(two, one)
