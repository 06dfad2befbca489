"""Smooth losses of linear predictors, by rows or by moments: what the Bregman paths ask of data."""

from functools import partial

import numpy as np
from scipy import sparse

from ._blas import eigenbasis, product, self_product
from ._bregman import residual
from .split_operator import EXACT_NORM, top_eigenvalue

LOSSES = {"squared": 0, "logistic": 1, "multinomial": 2}
# The Hessian of the loss in b is at most this times X'VX.
CURVATURE = {"squared": 1.0, "logistic": 0.25, "multinomial": 0.5}


class Smooth:
    """A loss on rows of positive weight: ``sum_i v_i l(y_i, b0 + x_i'b)``, v of sum one.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, p)
        Dense X is centred (with an intercept) and kept with contiguous columns.
    Y : ndarray of shape (n, K)
        Response, indicator of the second class, or indicators of all classes.
    weights : ndarray of shape (n,)
    loss : {'squared', 'logistic', 'multinomial'}
    fit_intercept : bool
    """

    def __init__(self, X, Y, weights, loss, fit_intercept):
        present = weights > 0.0
        if not present.all():
            X, Y, weights = X[present], Y[present], weights[present]
        self.loss, self.fit_intercept = loss, fit_intercept
        self.v = np.ascontiguousarray(weights / weights.sum())
        self.n, self.p = X.shape
        self.K = Y.shape[1]
        self.is_sparse = sparse.issparse(X)
        if self.is_sparse:
            X = X.tocsr().astype(np.float64)
            X.sum_duplicates()
            self.constants = _take_constants(X) if fit_intercept else np.zeros(self.p)
            self.x_mean = np.asarray(self.v @ X).ravel() if fit_intercept else np.zeros(self.p)
        else:
            self.constants = np.zeros(self.p)
            self.x_mean = product(np.asarray(X).T, self.v) if fit_intercept else np.zeros(self.p)
            if fit_intercept:
                X = np.subtract(X, self.x_mean, order="F", dtype=np.float64)
                # the mean's own rounding
                rest = product(X.T, self.v)
                X -= rest
                self.x_mean = self.x_mean + rest
                # constant but for rounding
                spread = np.maximum(X.max(axis=0), -X.min(axis=0))
                X[:, spread <= 8.0 * np.finfo(np.float64).eps * np.abs(self.x_mean)] = 0.0
            else:
                X = np.asfortranarray(X, dtype=np.float64)
        self.X = X
        self.y_mean, self.scale = np.zeros(self.K), 1.0
        if loss == "squared":
            largest = np.abs(Y).max(initial=0.0)
            if fit_intercept:
                self.y_mean = self.v @ Y
                Y = Y - self.y_mean
                Y[np.abs(Y) <= 8.0 * np.finfo(np.float64).eps * largest] = 0.0
            # a power of two, so that nothing is rounded
            self.scale = 2.0 ** float(np.clip(np.frexp(np.abs(Y).max(initial=0.0))[1], -1000, 1000))
            Y = Y / self.scale
        self.Y = np.asfortranarray(Y, dtype=np.float64)
        self._gram = self.eigenbasis = None
        self.at_zero, self.b0_at_zero = self.residual(np.zeros((self.n, self.K), order="F"))
        self.q = self.correlate(self.at_zero)

    @property
    def arrays(self):
        """Dense X, or the arrays of a CSR matrix, for the kernels."""
        return matrix_arrays(self.X)

    @property
    def prefers_gram(self):
        """Whether one product of all columns pays."""
        return self.loss == "squared" and self.p <= min(self.n, 4000)

    @property
    def gram(self):
        """X'VX, centred."""
        if self._gram is None:
            self._gram = self._whole_gram()
        return self._gram

    @gram.setter
    def gram(self, gram):
        self._gram = gram

    @property
    def bands(self):
        """Diagonal and off-diagonal of X'VX, not centred, where rows of sparse X hold neighbours only; else None."""
        if not hasattr(self, "_bands"):
            self._bands = _bands(self.X, self.v) if self.is_sparse else None
        return self._bands

    @property
    def size(self):
        """Stored entries of X."""
        return self.X.nnz if self.is_sparse else self.n * self.p

    def _whole_gram(self):
        if self.is_sparse:
            return self.gram_block(np.arange(self.p))
        return self_product(np.sqrt(self.v)[:, None] * self.X)

    def gram_block(self, rows, columns=None):
        """Some of X'VX, centred."""
        if self.is_sparse:
            left = self.X[:, rows]
            right = sparse.diags_array(self.v) @ (left if columns is None else self.X[:, columns])
            shift = np.outer(self.x_mean[rows], self.x_mean[rows if columns is None else columns])
            return np.asfortranarray((left.T @ right).toarray() - shift)
        if columns is None:
            return self_product(np.sqrt(self.v)[:, None] * self.X[:, rows])
        return product(self.X[:, rows].T, self.v[:, None] * self.X[:, columns])

    def residual(self, eta, b0=None):
        """Minus the derivative in eta, (n, K), and the best intercept."""
        b0 = np.zeros(self.K) if b0 is None else np.array(b0, dtype=np.float64)
        return residual(LOSSES[self.loss], eta, self.Y, self.v, self.fit_intercept, b0), b0

    def correlate(self, R):
        """X'R, centred where R has column sums zero."""
        return np.asfortranarray(self.X.T @ R) if self.is_sparse else product(self.X.T, R)

    def times(self, B):
        """``X B`` (of sparse X not centred)."""
        return np.asfortranarray(self.X @ B) if self.is_sparse else product(self.X, B)

    def column_norms(self):
        """Norms of the columns in the metric of the weights."""
        if self.is_sparse:
            squares = self.X.multiply(self.X)
            return np.sqrt(np.maximum(np.asarray(self.v @ squares).ravel() - self.x_mean**2, 0.0))
        return np.sqrt(np.einsum("ij,ij,i->j", self.X, self.X, self.v))

    def hessian_times(self, b):
        """``X'VX b``, centred, for a vector."""
        if self._gram is not None:
            return product(self._gram, b)
        Xb = self.X @ b if self.is_sparse else product(self.X, b)
        w = self.v * Xb
        if self.is_sparse and self.fit_intercept:
            w -= self.v * w.sum()
        return np.asarray(self.X.T @ w) if self.is_sparse else product(self.X.T, w)

    def squared_norm(self):
        """Largest eigenvalue of X'VX."""
        if self.prefers_gram:
            return top_eigenvalue(self.hessian_times, self.p, gram=self.gram)
        if self.bands is not None and not np.any(self.bands[1]) and not np.any(self.x_mean):
            # the Hessian is diagonal
            return float(self.bands[0].max())
        small = not self.is_sparse and min(self.n, self.p) <= EXACT_NORM
        return top_eigenvalue(self.hessian_times, self.p, np.sqrt(self.v)[:, None] * self.X if small else None)

    def intercepts(self, coefs, unit=1.0):
        """Best intercepts, (n_times, K), of coefficients (n_times, p, K); ``unit`` is what they were multiplied by.

        Other units than those of the problem are for the squared loss only.
        """
        if not self.fit_intercept:
            return np.zeros((len(coefs), self.K))
        constant = np.einsum("j,tjk->tk", self.constants, coefs)
        centre = np.einsum("j,tjk->tk", self.x_mean, coefs) + constant
        if self.loss == "squared":
            return self.y_mean / self.scale * unit - centre
        out, b0 = np.empty((len(coefs), self.K)), self.b0_at_zero
        for t, B in enumerate(coefs):
            b0 = self.residual(self.times(np.asfortranarray(B)), b0)[1]
            out[t] = b0
        out -= constant if self.is_sparse else centre
        # of several classes only the differences matter
        return out - out.mean(axis=1, keepdims=True) if self.loss == "multinomial" else out


class MomentSmooth:
    """The squared loss of some rows, known by their moments: what `Smooth` offers that needs no rows.

    Parameters
    ----------
    weight : float
        Sum of the weights.
    x_sum, y_sum : ndarray, float
        Weighted sums of the features and of the response, less their origins.
    xx, xy : ndarray of shape (p, p) and (p,)
        Weighted sums of the products.
    x_origin, y_origin, scale : ndarray, float, float
        What was subtracted from the rows, and what the response was divided by.
    constants : ndarray of shape (p,)
        What was subtracted from the rows because it is the same in all.
    """

    loss, K, X, is_sparse, prefers_gram, bands, eigenbasis = "squared", 1, None, False, True, None, None

    def __init__(self, weight, x_sum, y_sum, xx, xy, x_origin, y_origin, scale, constants, fit_intercept):
        self.p = self.n = len(x_sum)
        self.scale, self.constants, self.fit_intercept = scale, constants, fit_intercept
        x, y = (x_sum / weight, y_sum / weight) if fit_intercept else (np.zeros(self.p), 0.0)
        self.gram = np.asfortranarray(xx / weight - np.outer(x, x))
        self.q = np.asfortranarray((xy / weight - x * y)[:, None])
        self.x_mean, self.y_mean = x_origin + x, np.array([(y_origin + y) * scale])

    def hessian_times(self, b):
        """X'VX b."""
        return product(self.gram, b)

    def squared_norm(self):
        """Largest eigenvalue of X'VX."""
        return top_eigenvalue(self.hessian_times, self.p, gram=self.gram)

    intercepts = Smooth.intercepts


def split_eigenbasis(problem, operator, nu):
    """Eigenvalues and eigenvectors of the Hessian in b, ``X'VX + D'D / nu``, where the loss is squared."""
    known = problem.eigenbasis
    if known is None or known[0] is not operator or known[1] != nu:
        D = operator.matrix
        H = problem.gram + (D.T @ D).toarray() / nu
        known = problem.eigenbasis = (operator, nu, *eigenbasis(H))
    return known[2:]


def fold_problems(problem, splits, run):
    """The problems of the training rows, by moments: those of all rows less those held out; None where that is not so.

    The rows of the problem must be those that the splits number. Tall problems of the squared loss only. ``run`` maps
    thunks to their results.
    """
    n = problem.n
    covered = np.bincount(np.concatenate([test for _, test in splits]), minlength=n)
    if not np.all(covered == 1) or any(
        len(train) + len(test) != n or not np.all(np.bincount(train, minlength=n) + np.bincount(test, minlength=n) == 1)
        for train, test in splits
    ):
        return None
    parts = run([partial(_sums, problem, test) for _, test in splits])
    whole = [sum(part[i] for part in parts) for i in range(5)]
    x_origin = np.zeros(problem.p) if problem.is_sparse else problem.x_mean
    y_origin = problem.y_mean[0] / problem.scale
    make = x_origin, y_origin, problem.scale, problem.constants, problem.fit_intercept

    def without(part):
        return MomentSmooth(*(of_all - held for of_all, held in zip(whole, part)), *make)

    every, *problems = run([partial(without, part) for part in [[0.0] * 5, *parts]])
    problem.gram = every.gram
    return problems


def _sums(problem, rows):
    """Of some rows: weights, and weighted sums of features, response and products."""
    X, y, v = problem.X[rows], problem.Y[rows, 0], problem.v[rows]
    if sparse.issparse(X):
        # not centred, as the products with its mean are not small they are subtracted last
        return v.sum(), X.T @ v, v @ y, np.asfortranarray((X.T @ sparse.diags_array(v) @ X).toarray()), X.T @ (v * y)
    return v.sum(), product(X.T, v), v @ y, self_product(np.sqrt(v)[:, None] * X), product(X.T, v * y)


def _bands(X, v):
    """Diagonal and off-diagonal of X'VX if each row of a CSR matrix has one or two neighbouring entries, else None."""
    p, counts = X.shape[1], np.diff(X.indptr)
    if counts.max(initial=0) > 2:
        return None
    weighted = np.repeat(v, counts) * X.data
    diagonal, off = np.bincount(X.indices, weighted * X.data, p), np.zeros(max(p - 1, 0))
    first = X.indptr[:-1][counts == 2]
    if len(first):
        ends = np.sort(np.column_stack([X.indices[first], X.indices[first + 1]]), axis=1)
        if np.any(ends[:, 1] - ends[:, 0] != 1):
            return None
        off = np.bincount(ends[:, 0], weighted[first] * X.data[first + 1], p - 1)
    return diagonal, off


def _take_constants(X):
    """Entries of the columns that hold one value in every row of a CSR matrix, which are set to zero there."""
    n, p = X.shape
    constants = np.zeros(p)
    full = np.flatnonzero(np.bincount(X.indices, minlength=p) == n)
    if len(full):
        part = X[:, full].toarray()
        same = (part == part[0]).all(axis=0)
        constants[full[same]] = part[0, same]
        X.data[constants[X.indices] != 0.0] = 0.0
        X.eliminate_zeros()
    return constants


def matrix_arrays(X):
    if sparse.issparse(X):
        return (None, X.data, X.indices.astype(np.int32, copy=False), X.indptr.astype(np.int32, copy=False))
    return X, None, None, None


def residuals_of(problem, W, B, factors):
    """``V (f y - X_W b)`` for each column b of B and its factor f, less the intercept."""
    R = problem.Y * np.asarray(factors) - columns_of(problem.X, W) @ B
    if problem.is_sparse and problem.fit_intercept:
        R -= problem.v @ R
    return np.asfortranarray(problem.v[:, None] * R)


def columns_of(X, W):
    """Some columns of X, in the form that the kernels read."""
    if sparse.issparse(X):
        X = X[:, W].tocsr()
        X.sort_indices()
        return X
    return np.asfortranarray(X[:, W])
