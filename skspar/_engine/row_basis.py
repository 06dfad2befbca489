"""Orthonormal coordinates of the rows of a dense design: well conditioned whatever its columns are."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, eigvalsh, qr, solve_triangular, svd

from ._blas import product, symmetric
from ._row_blocks import centred_gram, centred_product, squared_lengths
from .design import pieces

EPS = np.finfo(np.float64).eps
# Lengths of columns below which squares lose their digits.
SMALLEST = 1e-140


class RowBasis:
    """Coordinates q_i of rows x_i with ``sum_i s_i q_i q_i' = I``, spanning what [1, X] spans.

    A fit ``q_i' beta`` is a fit ``b0 + x_i' b``. Columns may lie far from the origin, have any units and be
    collinear: they are centred, scaled, and a direction without variation is left out.

    Parameters
    ----------
    X : ndarray of shape (n, p)
        Not changed.
    weights : ndarray of shape (n,)
        All positive.
    fit_intercept : bool

    Attributes
    ----------
    Q : ndarray of shape (n, k), C-ordered
    rank : int
        k, the intercept counted.
    """

    def __init__(self, X, weights, fit_intercept):
        n, p = X.shape
        first = int(fit_intercept)
        self.total = float(weights.sum())
        self.fit_intercept = fit_intercept
        self.n_features = p
        self.mean = np.zeros(p)
        if fit_intercept and n:
            # one of the rows first: what is left has no common part that rounding could hide
            self.mean = np.array(X[0], dtype=np.float64)
            some = np.asarray(X[:1000], dtype=np.float64) - self.mean
            self.mean += np.einsum("i,ij->j", weights[:1000], some) / weights[:1000].sum()
        G, left = centred_gram(X, self.mean, weights)
        self._refuse(X, np.flatnonzero(~np.isfinite(np.diag(G))))
        symmetric(G)
        if fit_intercept:
            left /= self.total
            G -= self.total * np.outer(left, left)
            self.mean += left
        sizes = np.sqrt(np.maximum(np.diag(G), 0.0))
        small = np.flatnonzero(sizes < SMALLEST)
        # constant columns have no variation to lose
        self._refuse(X, small[np.abs(X[:, small] - self.mean[small]).max(axis=0, initial=0.0) > 0.0])
        # a column that is constant leaves rounding errors
        sizes[sizes <= 8.0 * EPS * np.sqrt(self.total) * np.abs(self.mean)] = 0.0
        kept = np.flatnonzero(sizes > 0.0)
        scale = np.divide(1.0, sizes, out=np.zeros(p), where=sizes > 0.0)
        C = G[np.ix_(kept, kept)] * np.outer(scale[kept], scale[kept])
        values = eigvalsh(C) if len(kept) else np.ones(1)
        self._minimum_norm = self._lengths = None
        self._offset = None
        # a mean is known to its last digit only, which matters where a column varies in its last digits
        doubt = EPS * np.sqrt(self.total) * np.abs(self.mean) * scale
        if n > len(kept) and values[0] > 1e-7 * max(1.0, values[-1]):
            self.map = np.zeros((p, len(kept)), order="F")
            self.map[kept] = _upper_inverse(C) * scale[kept, None]
            self.Q, self._lengths = np.empty((n, first + len(kept))), np.empty(n)
            centred_product(X, self.mean, self.map, first, 1.0 / np.sqrt(self.total), self.Q, self._lengths)
            if values[0] < 1e-4 * values[-1]:
                # the factor of the first Gram matrix was rounded; that of the second is nearly the identity
                again = _upper_inverse(symmetric(centred_gram(self.Q[:, first:], np.zeros(len(kept)), weights)[0]))
                for piece in pieces(n, p):
                    self.Q[piece, first:] = product(self.Q[piece, first:], again)
                self.map = product(self.map, again)
                self._lengths = None
            if fit_intercept and doubt.max(initial=0.0) > 1e-14:
                self._offset = np.einsum("i,ij->j", weights, self.Q[:, first:]) / self.total
                self.Q[:, first:] -= self._offset
                self._lengths = None
        else:
            root = np.sqrt(weights)
            A = (np.asarray(X[:, kept], dtype=np.float64) - self.mean[kept]) * scale[kept]
            offset = np.einsum("i,ij->j", weights, A) / self.total if fit_intercept else np.zeros(len(kept))
            A -= offset
            A *= root[:, None]
            U, sd, Vt = svd(A, full_matrices=False) if A.size else (np.zeros((n, 0)), np.zeros(0), np.zeros((0, 0)))
            # nor is a direction without variation but for the rounding of the columns one to fit
            least = np.maximum(EPS * max(n, len(kept)) * sd.max(initial=0.0), 4.0 * np.sqrt(Vt**2 @ doubt[kept] ** 2))
            r = int(np.argmin(np.append(sd > least, False)))
            self.map = np.zeros((p, r))
            self.map[kept] = scale[kept, None] * Vt[:r].T / sd[:r]
            self.Q = np.empty((n, first + r))
            self.Q[:, :first] = 1.0 / np.sqrt(self.total)
            self.Q[:, first:] = U[:, :r] / root[:, None]
            if fit_intercept:
                self._offset = Vt[:r] @ offset / sd[:r]
            if r < p:
                rows = np.zeros((p, r))
                rows[kept] = Vt[:r].T / scale[kept, None]
                self._minimum_norm = qr(rows, mode="economic")[0] if r else rows
        self.rank = self.Q.shape[1]

    def _refuse(self, X, columns):
        """Refuse columns whose squares leave the range of floating point."""
        if len(columns):
            raise ValueError(
                "X must have columns that vary by 1e-140 to 1e140, so that their squares can be summed; column "
                f"{columns[0]} has values such as {float(np.abs(X[:, columns[0]]).max()):.0e}."
            )

    @property
    def lengths(self):
        """Squared lengths of the rows q_i."""
        if self._lengths is None:
            self._lengths = squared_lengths(self.Q)
        return self._lengths

    def coefficients(self, betas):
        """Coefficients (p,) and intercept for ``Q beta``; of minimum norm where they are not unique."""
        first = int(self.fit_intercept)
        coef = product(self.map, betas[first:]) if self.map.size else np.zeros(self.n_features)
        if self._minimum_norm is not None:
            coef = product(self._minimum_norm, product(self._minimum_norm.T, coef))
        intercept = 0.0
        if self.fit_intercept:
            intercept = float(betas[0] / np.sqrt(self.total) - self.mean @ coef)
            if self._offset is not None:
                intercept -= float(self._offset @ betas[first:])
        return coef, intercept

    def coordinates(self):
        """The map from rows to coordinates, without the rows."""
        constant = 1.0 / np.sqrt(self.total) if self.fit_intercept else None
        return Coordinates(self.mean, self.map, constant, self._offset)


@dataclass
class Coordinates:
    """Coordinates of other rows: ``(x - mean)' map - offset``, after a constant where there is an intercept."""

    mean: np.ndarray
    map: np.ndarray
    constant: float | None
    offset: np.ndarray | None

    def __call__(self, X):
        first = int(self.constant is not None)
        out = np.empty((X.shape[0], first + self.map.shape[1]))
        if first:
            out[:, 0] = self.constant
        for piece in pieces(X.shape[0], X.shape[1]):
            out[piece, first:] = product(X[piece] - self.mean, self.map) if self.map.size else 0.0
        if self.offset is not None:
            out[:, first:] -= self.offset
        return out


def _upper_inverse(G):
    """Upper triangular T with ``T' G T = I``."""
    if len(G) == 0:
        return np.zeros((0, 0), order="F")
    L = cholesky(G, lower=True)
    return np.asfortranarray(solve_triangular(L, np.eye(len(G)), lower=True).T)
