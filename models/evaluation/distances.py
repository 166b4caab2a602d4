"""Distances between two sets of pictures by their features, n x d: how far made ones are from real ones, as a set."""

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError

Features = NDArray[np.float64]

SUBSETS = 100
SUBSET = 1000


def fid(a: Features, b: Features) -> float:
    """Frechet distance of two Gaussians (Heusel et al., 2017): |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)).

    C_a C_b is not symmetric, but has the eigenvalues of C_a^(1/2) C_b C_a^(1/2), which is: so no complex square root is
    met, and sets with fewer pictures than features, whose covariances are singular, need no offset.
    """
    _check(a, b)
    root, covariance = _square_root(_covariance(a)), _covariance(b)
    eigenvalues = np.linalg.eigvalsh(root @ covariance @ root)
    overlap = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    apart = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    return max(0.0, float(apart + np.square(root).sum() + np.trace(covariance) - 2 * overlap))


def kid(a: Features, b: Features, subsets: int = SUBSETS, subset: int = SUBSET, seed: int = 0) -> float:
    """Kernel distance (Binkowski et al., 2018): the unbiased MMD^2 with the kernel (x.y / d + 1)^3, mean over subsets.

    Subsets are drawn without repetition, `subset` pictures of each set; all are taken once where no set has more.
    It has no bias: sets of one distribution give 0 on average, so about as often less as more.
    """
    _check(a, b)
    if max(len(a), len(b)) <= subset:
        return _squared_discrepancy(a, b)
    size = min(len(a), len(b), subset)
    random = np.random.default_rng(seed)
    drawn = (
        _squared_discrepancy(*(features[random.choice(len(features), size, replace=False)] for features in (a, b)))
        for _ in range(subsets)
    )
    return float(np.mean(list(drawn)))


def _squared_discrepancy(x: Features, y: Features) -> float:
    """MMD_u^2 of n and m features: pictures are not compared with themselves."""
    return float(_within(x) + _within(y) - 2 * _kernel(x, y).mean())


def _within(x: Features) -> float:
    kernel, n = _kernel(x, x), len(x)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))


def _kernel(x: Features, y: Features) -> Features:
    kernel: Features = (x @ y.T / x.shape[1] + 1) ** 3
    return kernel


def _covariance(features: Features) -> Features:
    covariance: Features = np.atleast_2d(np.cov(features, rowvar=False))
    return covariance


def _square_root(symmetric: Features) -> Features:
    values, vectors = np.linalg.eigh(symmetric)
    root: Features = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root


def _check(a: Features, b: Features) -> None:
    if min(len(a), len(b)) < 2:
        raise DataError(f"sets of {len(a)} and {len(b)} pictures have no distance; take at least 2 of each")
