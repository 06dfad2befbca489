"""The operator D of a split penalty: products, its norm, and projections on the vectors that its rows do not see."""

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import lsmr

from ._blas import self_product

# Entries of the largest block of D that is factored densely for a projection.
DENSE_LIMIT = 4_000_000
# Largest order of a matrix whose largest eigenvalue is computed exactly.
EXACT_NORM = 600


class SplitOperator:
    """D as a CSR matrix of float64 with 32-bit indices.

    Attributes
    ----------
    matrix : CSR matrix of shape (m, p)
    is_identity : bool
        Whether D is the identity.
    is_chain : bool
        Whether D takes the differences of neighbours.
    is_graph : bool
        Whether every row is a multiple of ``e_i - e_j`` or of ``e_i``.
    squared_norm : float
        The largest eigenvalue of D'D.
    """

    def __init__(self, matrix):
        matrix = sparse.csr_matrix(matrix, dtype=np.float64, copy=True)
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        self.matrix = matrix
        self.shape = m, p = matrix.shape
        counts = np.diff(matrix.indptr)
        self.is_identity = (
            m == p and matrix.nnz == p and bool(np.all(matrix.indices == np.arange(p)) and np.all(matrix.data == 1.0))
        )
        i = np.arange(m)
        self.is_chain = bool(
            m == p - 1
            and matrix.nnz == 2 * m
            and np.all(matrix.indices == np.column_stack([i, i + 1]).ravel())
            and np.all(matrix.data == np.tile([-1.0, 1.0], m))
        )
        self.is_graph = self.is_chain or self._ends(counts)
        if self.is_chain:
            self.row_norms = np.full(m, np.sqrt(2.0))
        else:
            self.row_norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
        if self.is_identity:
            self.squared_norm = 1.0
        elif self.is_chain:
            self.squared_norm = 4.0 * np.cos(0.5 * np.pi / p) ** 2
        else:
            self.squared_norm = top_eigenvalue(lambda x: matrix.T @ (matrix @ x), p, matrix)

    @property
    def arrays(self):
        """Data, indices and pointers for the kernels."""
        matrix = self.matrix
        return matrix.data, matrix.indices.astype(np.int32, copy=False), matrix.indptr.astype(np.int32, copy=False)

    def _ends(self, counts):
        """Whether each row is an edge or fixes one entry; keeps the ends, twice the same for the latter."""
        if np.any(counts > 2):
            return False
        first = self.matrix.indptr[:-1][counts > 0]
        last = self.matrix.indptr[1:][counts > 0] - 1
        data, indices = self.matrix.data, self.matrix.indices
        pair = counts[counts > 0] == 2
        if not np.all(data[first][pair] == -data[last][pair]):
            return False
        self._rows = np.flatnonzero(counts)
        self._heads, self._tails = indices[first], indices[last]
        return True

    def projected(self, b, support):
        """``b`` (p, k) projected on the vectors with ``D x = 0`` in the rows that are not in the support (m,)."""
        if self.is_identity:
            return np.where(support[:, None], b, 0.0)
        if support.all():
            return b.copy()
        if self.is_graph:
            return self._averages(b, support)
        off = self.matrix[~support]
        if off.shape[0] * off.shape[1] <= DENSE_LIMIT:
            basis, R, _ = linalg.qr(off.toarray().T, mode="economic", pivoting=True)
            sizes = np.abs(np.diag(R))
            basis = basis[:, : np.count_nonzero(sizes > 1e-12 * sizes.max(initial=0.0))]
            return b - basis @ (basis.T @ b)
        out = np.empty_like(b)
        for c in range(b.shape[1]):
            # LSMR from zero gives the solution of least norm, which is the part of b that D sees
            out[:, c] = (
                b[:, c] - lsmr(off, off @ b[:, c], atol=1e-14, btol=1e-14, conlim=0, maxiter=20 * max(off.shape))[0]
            )
        return out

    def _averages(self, b, support):
        """Means over the components that the rows off the support connect; zero where such a row fixes an entry."""
        p = len(b)
        if self.is_chain:
            label = np.concatenate(([0], np.cumsum(support)))
            count = int(label[-1]) + 1
            fixed = np.zeros(count, dtype=bool)
        else:
            off = ~support[self._rows]
            heads, tails = self._heads[off], self._tails[off]
            edges = sparse.coo_matrix((np.ones(len(heads)), (heads, tails)), shape=(p, p))
            count, label = connected_components(edges, directed=False)
            fixed = np.zeros(count, dtype=bool)
            fixed[label[heads[heads == tails]]] = True
        sizes = np.bincount(label, minlength=count)
        out = np.empty_like(b)
        for c in range(b.shape[1]):
            mean = np.bincount(label, weights=b[:, c], minlength=count) / sizes
            mean[fixed] = 0.0
            # an entry on its own keeps its value to the last bit
            out[:, c] = np.where((sizes == 1)[label] & ~fixed[label], b[:, c], mean[label])
        return out


def top_eigenvalue(multiply, size, matrix=None, gram=None):
    """Largest eigenvalue of a positive semidefinite operator; ``gram`` is its matrix, or ``matrix`` M where it is M'M.

    Exact up to 600 rows or columns, else from below by Lanczos' method.
    """
    if gram is not None and size <= EXACT_NORM:
        return _top(gram)
    if matrix is not None and min(matrix.shape) <= EXACT_NORM:
        few = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        return _top(few @ few.T if sparse.issparse(few) else self_product(few.T))
    if size <= EXACT_NORM:
        gram = np.column_stack([multiply(e) for e in np.eye(size)])
        return _top(0.5 * (gram + gram.T))
    return _lanczos(multiply, size)


def _top(gram):
    gram = gram.toarray() if sparse.issparse(gram) else gram
    if not np.all(np.isfinite(gram)):
        return np.inf
    if len(gram) <= 1:
        # old SciPy gives LAPACK too little memory for a single number
        return float(max(0.0, np.sum(gram)))
    # all of them: bisection for one alone fails where eigenvalues are equal but for rounding
    return float(max(0.0, linalg.eigvalsh(gram, driver="evd")[-1]))


def _lanczos(multiply, size, tol=1e-7, steps=80):
    """Largest Ritz value, each vector orthogonalised against all before it."""
    vectors = np.empty((steps + 1, size))
    start = np.random.default_rng(0).normal(size=size)
    vectors[0] = start / linalg.norm(start)
    diagonal, off = [], []
    value = before = largest = 0.0
    for k in range(min(steps, size)):
        w = multiply(vectors[k])
        largest = max(largest, float(linalg.norm(w)))
        diagonal.append(float(vectors[k] @ w))
        # once more, for where little is left of w that little is far from orthogonal
        for _ in range(2):
            w = w - vectors[: k + 1].T @ (vectors[: k + 1] @ w)
        beta = float(linalg.norm(w))
        # an invariant subspace: the vectors hold all distinct eigenvalues, for the start has a part in each
        exhausted = beta <= 1e-11 * largest
        if k % 5 == 4 or exhausted:
            value = linalg.eigvalsh_tridiagonal(diagonal, off, lapack_driver="sterf")[-1] if off else diagonal[0]
            if exhausted or value - before <= tol * value:
                break
            before = value
        off.append(beta)
        vectors[k + 1] = w / beta
    return float(max(value, 0.0))
