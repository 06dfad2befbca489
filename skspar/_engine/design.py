"""What the solvers ask of a design matrix: products with it, and copies of a few of its columns.

A design is never centred, weighted, cast or copied as a whole. Columns whose mean is more than a hundred times their
spread are shifted by that mean whenever they are read. With an intercept the shifted column takes the place of the
column, because a correction after the product cancels (mean / spread = 1e6 would cost ten digits of a Gram matrix).
Without one the mean's part of a product is added back, computed with twice the digits: residuals and correlations at
a given solution are then as accurate as those of centred columns.
"""

import math
from functools import partial

import numpy as np
from scipy import sparse

from ._blas import product, self_product, single_self_product, symmetric, zeros_to_add_to
from ._columns import (
    dense_columns,
    dense_correlate,
    dense_gram,
    dense_moments,
    dense_subtract_product,
    sparse_columns,
    sparse_correlate,
    sparse_moments,
    sparse_subtract_product,
)
from .threads import blas_threads, in_turn

# Elements of the largest temporary copy of a part of X: 16 MB in float64.
CHUNK = 1 << 21
# The same of a copy that is read once or twice and need not leave the cache.
CACHED = 1 << 18
# Share of the columns from which a product of few vectors with all costs less than to copy them.
MANY = 0.25
# Elements of a copy in single precision, and sums of squares that are small enough for terms of theirs to vanish there.
SINGLE, SMALLEST = 1 << 20, 1e-28
# Means of more standard deviations are large, and the least weight of rows that tell which may be.
FAR, LEAST_WEIGHT = 100.0, 1.0 / 400.0
# Columns up to which, for each thread that BLAS has, our Gram matrix is formed sooner than its.
KERNEL_COLUMNS = 256
# Vectors up to which our product is faster than that of BLAS with as many threads.
FEW = 6


def make_design(X, v, fit_intercept, exact_mean=True):
    """Wrap X (dense or scipy sparse) for the solvers; ``v`` are row weights that sum to one.

    Without ``exact_mean``, means of dense columns that are not large may be rough.
    """
    if sparse.issparse(X):
        return SparseDesign(X, v, fit_intercept)
    return DenseDesign(X, v, fit_intercept, exact_mean)


def _quick_moments(X, v, exact_mean):
    """Weighted means of the columns, and standard deviations that are exact where they are small beside the mean.

    For the others a lower bound, from a few rows, spares a pass over X, and so does their mean unless it must be exact.
    """
    # consecutive ones, which no copy of X's memory order is needed for
    start = int(np.argmax(v > 0.0))
    some = slice(start, start + max(16, len(X) // 200))
    weight = v[some].sum()
    rough, deviation = dense_moments(X[some], v[some] / weight)
    mean, doubtful = None, []
    if not exact_mean and weight >= LEAST_WEIGHT:
        # neither their deviation nor the distance of the means is more than sd / weight^1/2: a mean beyond FAR sd shows
        mean, doubtful = rough, np.flatnonzero(np.abs(rough) > (FAR * np.sqrt(weight) - 1.0) * deviation)
    deviation *= np.sqrt(weight)
    if mean is None or len(doubtful) > 0.1 * len(mean):
        mean = product(X.T, v)
        doubtful = np.flatnonzero(np.abs(mean) > FAR * deviation)
    for piece in pieces(len(doubtful), X.shape[0]):
        chosen = doubtful[piece]
        mean[chosen], deviation[chosen] = dense_moments(X[:, chosen], v)
    return mean, deviation


def _shifts(mean, deviation, fit_intercept):
    """The means, what every operation subtracts from the columns, and what products add back."""
    none = np.zeros(len(mean))
    large = np.where(np.abs(mean) > FAR * deviation, mean, 0.0)
    return (mean, large, none) if fit_intercept else (none, none, large)


def _add_means(means, R, out):
    """``out += means 1'R``."""
    some = np.flatnonzero(means)
    if len(some):
        out[some] += np.outer(means[some], R.sum(axis=0))


def _subtract_means(means, B, R):
    """``R -= 1 means' B``."""
    some = np.flatnonzero(means)
    if len(some):
        for part in _exact_products(means[some], B[some]):
            R -= part


def _exact_products(m, B):
    """``m' B`` for a vector m: the product rounded once, and what the rounding lost."""
    # a product's rounding error is itself a number (Dekker 1971), and fsum adds without any
    m, b = m[:, None], B
    product = m * b
    split = 134217729.0  # 2^27 + 1
    m_high = split * m - (split * m - m)
    b_high = split * b - (split * b - b)
    m_low, b_low = m - m_high, b - b_high
    error = ((m_high * b_high - product) + m_high * b_low + m_low * b_high) + m_low * b_low
    high, low = np.empty(B.shape[1]), np.empty(B.shape[1])
    for t, terms in enumerate(np.concatenate([product, error]).T.tolist()):
        high[t] = math.fsum(terms)
        low[t] = math.fsum([*terms, -high[t]])
    return high, low


def _add_product(X, R, out):
    product(X.T, R, out, keep=1.0)


def pieces(total, width, most=CHUNK):
    """Slices of ``range(total)`` such that a block of that many rows of ``width`` has at most so many elements."""
    step = max(1, most // max(width, 1))
    return [slice(start, min(start + step, total)) for start in range(0, total, step)]


class DenseDesign:
    """A float32 or float64 array in any memory order.

    Attributes
    ----------
    mean : ndarray of shape (p,)
        Weighted means, rough ones if these will do; zero without an intercept.
    shift : ndarray of shape (p,)
        Every operation sees ``X - shift``.
    plain : bool
        Whether X can be multiplied as it is.
    far : bool
        Whether means are so large that, without an intercept, products with them are formed apart.
    """

    is_sparse = False

    def __init__(self, X, v, fit_intercept, exact_mean=True):
        self.X = X
        self.shape, self.nbytes = X.shape, X.nbytes
        by_blas = X.dtype == np.float64 and X.itemsize in X.strides and min(X.strides) > 0
        moments = _quick_moments(X, v, exact_mean) if by_blas else dense_moments(X, v)
        self.mean, self.shift, self._added = _shifts(*moments, fit_intercept)
        self._read = self.shift + self._added
        self.far = bool(self._added.any())
        # columns whose products are formed from float64, shifted copies
        self._copied = np.flatnonzero(self._read) if by_blas else np.arange(X.shape[1])
        self.plain = len(self._copied) == 0

    def columns(self, columns, rows=None, origin=None):
        """Float64 copy of some columns, Fortran-ordered; all rows, or those given.

        ``origin`` takes the place of the shift, for every column of the design.
        """
        if rows is None:
            rows = np.arange(self.shape[0])
        out = np.empty((len(rows), len(columns)), order="F")
        dense_columns(self.X, rows, columns, self.shift if origin is None else origin, out)
        return out

    def correlate(self, R, run=in_turn, n_threads=1):
        """``X' R`` for every column of X and of R; ``run`` maps thunks to their results in so many threads."""
        n, p = self.shape
        out = zeros_to_add_to((p, R.shape[1]))
        if len(self._copied) < p:
            few = R.shape[1] <= FEW and self.X.strides[0] == 8 and (n_threads > 1 or blas_threads() == 1)
            add = dense_correlate if few else _add_product
            R = np.asfortranarray(R)
            edges = np.linspace(0, p, n_threads + 1).astype(int)
            run([partial(add, self.X[:, lo:hi], R, out[lo:hi]) for lo, hi in zip(edges[:-1], edges[1:])])
        for piece in pieces(len(self._copied), n):
            chosen = self._copied[piece]
            out[chosen] = product(self.columns(chosen, origin=self._read).T, R)
        _add_means(self._added, R, out)
        return out

    def _all_at_once(self, columns, n_vectors):
        """Whether a product with all columns, which are not copied, costs less than one with copies of some."""
        return self.plain and n_vectors <= FEW and len(columns) > MANY * self.shape[1]

    def correlate_some(self, columns, R):
        """``X_J' R`` for some columns J."""
        if self._all_at_once(columns, R.shape[1]):
            return self.correlate(R)[columns]
        out = zeros_to_add_to((len(columns), R.shape[1]))
        for rows in pieces(self.shape[0], len(columns), CACHED):
            read = self.columns(columns, np.arange(rows.start, rows.stop), self._read)
            product(read.T, R[rows], out, keep=1.0)
        _add_means(self._added[columns], R, out)
        return out

    def gram(self, columns, n_last, v, centred, out):
        """``X_K' V X_N`` for some columns K, the last ones of which are N; about the weighted means if ``centred``.

        The columns' means must not be so large that products with them are formed apart. ``out`` is filled; its columns
        must be contiguous.
        """
        m, old = len(columns), len(columns) - n_last
        # memory that was never written is better not read first, see `zeros_to_add_to`
        out.fill(0.0)
        sums = np.zeros(m if centred else 0)
        equal = np.all(v == v[0])
        root = np.empty(0) if equal else np.sqrt(v)
        if self._read_in_place(columns) and n_last <= KERNEL_COLUMNS // blas_threads():
            dense_gram(self.X, columns, self.mean, root, out, sums)
        else:
            for rows in pieces(self.shape[0], m, CACHED):
                read = self.columns(columns, np.arange(rows.start, rows.stop), self.mean)
                if not equal:
                    read *= root[rows, None]
                if centred:
                    sums += product(read.T, np.ones(len(read)) if equal else root[rows])
                product(read[:, :old].T, read[:, old:], out[:old], keep=1.0)
                self_product(read[:, old:], out[old:])
            symmetric(out[old:])
        if equal:
            out *= v[0]
            sums *= v[0]
        if centred:
            out -= np.outer(sums, sums[old:])

    def _read_in_place(self, columns):
        """Whether our kernels can read some columns, which BLAS needs copies of, as they are."""
        contiguous = self.X.dtype == np.float64 and self.X.strides[0] == 8
        return contiguous and (self.plain or not np.isin(columns, self._copied).any())

    def single_gram(self, v, origin):
        """``(X - origin)' V (X - origin)`` formed in single precision; None where that has not the range for it."""
        p = self.shape[1]
        total, every, equal = np.zeros((p, p), dtype=np.float32, order="F"), np.arange(p), np.all(v == v[0])
        block = np.empty((0, p), dtype=np.float32, order="F")
        for rows in pieces(self.shape[0], p, SINGLE):
            size = rows.stop - rows.start
            if len(block) != size:
                block = np.empty((size, p), dtype=np.float32, order="F")
            dense_columns(self.X, np.arange(rows.start, rows.stop), every, origin, block)
            if not equal:
                block *= np.sqrt(v[rows], dtype=np.float32)[:, None]
            single_self_product(block, total)
        squares = np.diag(total)
        if not np.isfinite(squares).all() or squares.min() < SMALLEST:
            return None
        total = symmetric(total.astype(np.float64, order="F"))
        if equal:
            total *= v[0]
        return total

    def subtract_product(self, columns, B, R):
        """``R -= X_J B`` in place."""
        if self._all_at_once(columns, B.shape[1]) and len(np.unique(columns)) == len(columns):
            every = np.zeros((self.shape[1], B.shape[1]), order="F")
            every[columns] = B
            product(self.X, every, R, scale=-1.0, keep=1.0)
            return
        _subtract_means(self._added[columns], B, R)
        if R.shape[1] <= FEW and R.strides[0] == 8 and self._read_in_place(columns):
            dense_subtract_product(self.X, columns, np.asfortranarray(B), R)
            return
        for rows in pieces(self.shape[0], len(columns), CACHED):
            read = self.columns(columns, np.arange(rows.start, rows.stop), self._read)
            product(read, B, R[rows], scale=-1.0, keep=1.0)


class SparseDesign:
    """A CSC matrix; nothing of it is made dense but a few columns at a time. See `DenseDesign`."""

    is_sparse = True

    def __init__(self, X, v, fit_intercept):
        X = X.tocsc()
        if not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
        index_type = np.int64 if np.int64 in (X.indices.dtype, X.indptr.dtype) else np.int32
        self.arrays = (
            X.data,
            X.indices.astype(index_type, copy=False),
            X.indptr.astype(index_type, copy=False),
        )
        self.X = X
        self.shape, self.nbytes = X.shape, sum(a.nbytes for a in self.arrays)
        self.mean, self.shift, self._added = _shifts(*sparse_moments(*self.arrays, v), fit_intercept)
        self._read = self.shift + self._added
        self._all = np.arange(X.shape[1])

    def is_plain(self, columns):
        """Whether some columns can be read as they are."""
        return not self._read[columns].any()

    def n_entries(self, columns):
        """How many entries some columns hold."""
        indptr = self.arrays[2]
        return int(np.sum(indptr[columns + 1] - indptr[columns]))

    def columns(self, columns, rows=None):
        """Float64 copy of some columns, Fortran-ordered; all rows, or those given."""
        out = np.empty((self.shape[0], len(columns)), order="F")
        sparse_columns(*self.arrays, columns, self.shift, out)
        return out if rows is None else out[rows]

    def correlate(self, R, run=in_turn, n_threads=1):
        """``X' R`` for every column of X and of R; ``run`` maps thunks to their results in so many threads."""
        if n_threads == 1:
            return self.correlate_some(self._all, R)
        parts = np.array_split(self._all, n_threads)
        return np.concatenate(run([partial(self.correlate_some, part, R) for part in parts]))

    def correlate_some(self, columns, R):
        """``X_J' R`` for some columns J."""
        out = np.empty((len(columns), R.shape[1]), order="F")
        sparse_correlate(*self.arrays, columns, self._read, np.ascontiguousarray(R), out)
        _add_means(self._added[columns], R, out)
        return out

    def subtract_product(self, columns, B, R):
        """``R -= X_J B`` in place."""
        rows = np.ascontiguousarray(R)
        _subtract_means(self._added[columns], B, rows)
        sparse_subtract_product(*self.arrays, columns, self._read, np.ascontiguousarray(B), rows)
        if rows is not R:
            R[...] = rows
