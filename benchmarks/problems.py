"""Problems that the benchmarks share, and a certificate that shares nothing with the library."""

from dataclasses import dataclass, field

import numpy as np
from scipy import sparse


def ar1_columns(n, p, correlation=0.5, seed=0):
    """Standard normal columns, Fortran order, neighbours correlated."""
    rng = np.random.default_rng(seed)
    X = np.asfortranarray(rng.standard_normal((n, p)))
    for j in range(1, p):
        X[:, j] = correlation * X[:, j - 1] + np.sqrt(1.0 - correlation**2) * X[:, j]
    return X


def with_noise(signal, snr, rng):
    """The signal plus Gaussian noise of variance ``var(signal) / snr``."""
    return signal + rng.standard_normal(signal.shape) * np.sqrt(signal.var() / snr)


@dataclass
class Problem:
    """Least squares without intercept and with a penalty on groups of ``size`` consecutive features (rows of B)."""

    name: str
    X: object
    Y: np.ndarray
    size: int = 1
    l1_ratio: float = 0.0
    eps: float = 1e-2
    n_alphas: int = 100
    alphas: np.ndarray = field(init=False)

    def __post_init__(self):
        self.n, self.p = self.X.shape
        correlation = self.X.T @ self._matrix / self.n
        top = self._dual_norms(correlation[:, :, None])[0]
        self.alphas = top * np.geomspace(1.0, self.eps, self.n_alphas)

    @property
    def _matrix(self):
        return self.Y.reshape(self.n, -1)

    @property
    def weight(self):
        return np.sqrt(self.size)

    def _dual_norms(self, C):
        """Largest dual norm of the groups; C has shape (p, T, n_alphas)."""
        Z = np.abs(C.reshape(self.p // self.size, -1, C.shape[2]))
        rho, w = self.l1_ratio, self.weight
        if rho == 0.0:
            return np.sqrt((Z**2).sum(axis=1)).max(axis=0) / w
        low, high = np.zeros(Z[:, 0].shape), Z.max(axis=1) / rho
        for _ in range(60):
            c = 0.5 * (low + high)
            above = np.sqrt((np.maximum(Z - c[:, None] * rho, 0.0) ** 2).sum(axis=1)) > c * (1.0 - rho) * w
            low, high = np.where(above, c, low), np.where(above, high, c)
        return high.max(axis=0)

    def largest_gap(self, coefs, alphas=None):
        """Largest duality gap along a path, relative to ||Y||^2 / 2n.

        ``coefs`` has shape (p, n_alphas), or (T, p, n_alphas) for several targets.
        """
        alphas = self.alphas if alphas is None else alphas
        Y = self._matrix
        B = coefs[:, None] if coefs.ndim == 2 else coefs.transpose(1, 0, 2)
        if B.shape[2] != len(alphas):
            return np.inf
        null, worst = 0.5 / self.n * np.sum(Y**2), 0.0
        for part in np.array_split(np.arange(len(alphas)), max(1, B.size // 10**7)):
            R = Y[:, :, None] - np.moveaxis(np.array([self.X @ B[:, :, k] for k in part]), 0, 2)
            flat = R.reshape(self.n, -1)
            C = (self.X.T @ flat / self.n).reshape(B.shape[:2] + (len(part),))
            b = B[:, :, part]
            groups = b.reshape(self.p // self.size, -1, len(part))
            value = (1.0 - self.l1_ratio) * self.weight * np.sqrt((groups**2).sum(axis=1)).sum(axis=0)
            value += self.l1_ratio * np.abs(b).sum(axis=(0, 1))
            c = np.minimum(1.0, alphas[part] / np.maximum(self._dual_norms(C), 1e-300))
            rss = (R**2).sum(axis=(0, 1)) / self.n
            gap = 0.5 * (1.0 - c) ** 2 * rss + alphas[part] * value - c * (b * C).sum(axis=(0, 1))
            worst = max(worst, float(gap.max()))
        return worst / null


def dense_lasso(n, p, n_informative, **options):
    rng = np.random.default_rng(1)
    X, coef = ar1_columns(n, p), np.zeros(p)
    coef[rng.choice(p, n_informative, replace=False)] = rng.choice([-1.0, 1.0], n_informative)
    return Problem(f"Lasso, {n:,} x {p:,}, {n_informative} true", X, with_noise(X @ coef, 3.0, rng), **options)


def sparse_lasso(n, p, density, n_informative, eps=0.02):
    rng = np.random.default_rng(1)
    count = int(n * p * density)
    places = rng.integers(n, size=count), rng.integers(p, size=count)
    # the peers want a matrix, not an array, with indices of 32 bits
    X = sparse.csc_matrix(sparse.coo_matrix((rng.standard_normal(count), places), (n, p)))
    X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    coef = np.zeros(p)
    coef[rng.choice(p, n_informative, replace=False)] = rng.choice([-1.0, 1.0], n_informative)
    name = f"Lasso, CSC {n:,} x {p:,}, density {density:g}, {n_informative} true, to alpha_max / {1 / eps:.0f}"
    return Problem(name, X, with_noise(X @ coef, 3.0, rng), eps=eps)


def group_lasso(n, p, size, n_groups, l1_ratio=0.0):
    rng = np.random.default_rng(1)
    X, coef = ar1_columns(n, p), np.zeros((p // size, size))
    coef[rng.choice(p // size, n_groups, replace=False)] = rng.standard_normal((n_groups, size))
    kind = f"sparse group Lasso (l1_ratio {l1_ratio:g})" if l1_ratio else "group Lasso"
    name = f"{kind}, {n:,} x {p:,}, groups of {size}, {n_groups} true"
    return Problem(name, X, with_noise(X @ coef.ravel(), 3.0, rng), size=size, l1_ratio=l1_ratio)


def multi_task(n, p, n_targets, n_informative, eps=0.02):
    rng = np.random.default_rng(1)
    X, coef = ar1_columns(n, p), np.zeros((p, n_targets))
    coef[rng.choice(p, n_informative, replace=False)] = rng.standard_normal((n_informative, n_targets))
    name = f"multi-task Lasso, {n:,} x {p:,}, {n_targets} targets, {n_informative} true, to alpha_max / {1 / eps:.0f}"
    return Problem(name, X, with_noise(X @ coef, 3.0, rng), eps=eps)
