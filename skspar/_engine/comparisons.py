"""Comparisons of items: equal rows merged, the graph of pairs, and least-squares systems of its Laplacian.

Row k compares the items ``left_k`` and ``right_k``: ``y_k = phi_left'b - phi_right'b + bias + gamma_k + noise``.
Nothing here grows faster than rows and pairs, but for one dense matrix in the parameters where these are few.
"""

import warnings
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.linalg.lapack import dpotrf, dpotrs
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, cg, splu

from ._blas import product
from ._comparisons import fill_laplacian, laplacian_multiply

# More parameters than this are solved for by conjugate gradients.
DENSE_LIMIT = 1500
# Iterations after which a sparse factor is tried. Conjugate gradients are slow only where the graph has small cuts, and
# there a factor has little fill.
PATIENCE = 300
# Relative residual of conjugate gradients; Newton steps that follow mend what is left.
ACCURACY = 1e-7
# Pivots below this share of the diagonal count as zero.
PIVOT = 1e-11
RIDGE = 1e-9


@dataclass
class Merged:
    """Distinct comparisons, sorted by pair.

    ``start, first, second`` describe the pairs, ``pair, y, weights`` the distinct rows, ``group`` their annotators
    (None without); ``inverse`` leads from the rows given to the distinct ones, ``sign`` is -1 where they were mirrored.
    """

    start: np.ndarray
    first: np.ndarray
    second: np.ndarray
    pair: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    group: np.ndarray | None
    inverse: np.ndarray
    sign: np.ndarray


def merge(left, right, y, weights, n_items, mirror=True, group=None, merging=True):
    """Merge equal rows; with ``mirror`` (j, i, -y) equals (i, j, y). Rows of different groups stay apart."""
    left, right = np.asarray(left, dtype=np.int64), np.asarray(right, dtype=np.int64)
    y = np.asarray(y, dtype=np.float64)
    if mirror:
        sign = np.where(left > right, -1.0, 1.0)
        code = np.minimum(left, right) * n_items + np.maximum(left, right)
        y = y * sign + 0.0  # no negative zeros
    else:
        sign = np.ones(len(y))
        y = y + 0.0
        code = left * n_items + right
    counted = _counted_rows(code, y, group, n_items) if merging else None
    if counted is None:
        order, new = _sorted_rows(code, y, group)
        if not merging:
            new[:] = True
        inverse = np.empty(len(y), dtype=np.intp)
        inverse[order] = np.cumsum(new) - 1
        rows = order[new]
        codes, values = code[rows], y[rows]
        groups = None if group is None else group[rows]
    else:
        inverse, codes, values, groups = counted
    total = np.bincount(inverse, weights=weights, minlength=len(codes))
    if group is None:
        fresh = np.concatenate(([True], codes[1:] != codes[:-1]))
        start = np.append(np.flatnonzero(fresh), len(codes)).astype(np.intp)
        pair = np.cumsum(fresh) - 1
        pairs = codes[fresh]
    else:
        # sorted by group: pairs are looked up
        pairs, pair = np.unique(codes, return_inverse=True)
        start = np.zeros(len(pairs) + 1, dtype=np.intp)
    first, second = np.divmod(pairs, n_items)
    first, second, pair = first.astype(np.int32), second.astype(np.int32), pair.astype(np.intp)
    return Merged(start, first, second, pair, values, total, groups, inverse, sign)


def sorted_by_pair(merged):
    """Rows sorted by group brought into the order of their pairs, and that order; groups are forgotten."""
    order = np.argsort(merged.pair, kind="stable")
    counts = np.bincount(merged.pair, minlength=len(merged.first))
    start = np.concatenate(([0], np.cumsum(counts))).astype(np.intp)
    rows = dict(start=start, pair=merged.pair[order], y=merged.y[order], weights=merged.weights[order], group=None)
    return replace(merged, **rows), order


def _counted_rows(code, y, group, n_items):
    """Distinct rows where there are so few possible ones that counting beats sorting, else None.

    Returns where each row is among the distinct ones, and their pairs, values and groups.
    """
    values, key = _few_values(y)
    if values is None:
        return None
    n_values, n_codes = len(values), n_items * n_items
    size = n_codes * n_values * (1 if group is None else int(group.max()) + 1)
    if size > max(4 * len(y), 1 << 16):
        return None
    key += code * n_values
    if group is not None:
        key += group.astype(np.int64) * (n_codes * n_values)
    found = np.bincount(key, minlength=size) > 0
    distinct = np.flatnonzero(found)
    inverse = (np.cumsum(found) - 1)[key]
    rest, place = np.divmod(distinct, n_values)
    groups, codes = np.divmod(rest, n_codes)
    return inverse, codes, values[place], None if group is None else groups


def _sorted_rows(code, y, group):
    """An order of rows by group, pair and y, and where in it a new distinct row begins."""
    keys = (y, code) if group is None else (y, code, group)
    order = np.lexsort(keys)
    new = np.zeros(len(y), dtype=bool)
    new[:1] = True
    for key in keys:
        new[1:] |= key[order[1:]] != key[order[:-1]]
    return order, new


def _few_values(y):
    """The distinct values of y and which each row has, if a sample shows that they are few."""
    sample = np.unique(y[:: max(1, len(y) // 1000)])
    if len(sample) > 32:
        return None, None
    place = np.minimum(np.searchsorted(sample, y), len(sample) - 1)
    if np.array_equal(sample[place], y):
        return sample, place
    values, place = np.unique(y, return_inverse=True)
    return (values, place.astype(np.int64)) if len(values) <= 256 else (None, None)


@dataclass
class Pairs:
    """Weighted pairs of items: what second derivatives are made of."""

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray

    def same(self, other):
        return self.first is other.first and np.array_equal(self.weight, other.weight)


class Parametrization:
    """Scores ``s = F b`` of the items of a graph and a position bias, with the systems ``Z'WZ x = g`` in (b, bias).

    Parameters
    ----------
    first, second : ndarray of int32
        Items of each pair.
    n_items : int
        All of them occur in some pair.
    features : None, ndarray or CSR array of shape (n_items, n_features)
        None has a parameter for every item (scores then sum to zero in every component of the graph).
    position_bias : bool
        Whether the pair's first item has an advantage, the same in all.
    weights : ndarray
        Total weight of each pair.
    """

    def __init__(self, first, second, n_items, features, position_bias, weights):
        self.n_items, self.position_bias = n_items, position_bias
        self.all_pairs = Pairs(first, second, weights)
        self.n_components, self.component = self._components(weights)
        self._sizes = np.bincount(self.component, minlength=self.n_components)
        if isinstance(features, np.ndarray):
            # scores are known up to a constant; products of features far from zero would cancel
            features = features - features.mean(axis=0)
        self.features, self._basis = features, None
        self.n_free = n_items if features is None else features.shape[1]
        self.is_dense = self._dense = self.n_free <= DENSE_LIMIT
        self._ones = None
        self._factored = False  # whether conjugate gradients have been given up
        self._reduced = features
        if features is not None and self._dense:
            self._keep_range()
        self.n_parameters = self.n_free + position_bias
        diagonal = self._diagonal(self.all_pairs)
        self._ridge = RIDGE * np.where(diagonal > 0.0, diagonal, max(diagonal.max(initial=0.0), 1.0))
        if position_bias and not self._bias_is_identified():
            self.position_bias = False
            self.n_parameters -= 1
            self._ridge = self._ridge[:-1]

    # --- parameters and scores

    def scores(self, theta):
        """Scores of the items and the position bias."""
        b = theta[: self.n_free]
        s = b if self.features is None else np.asarray(self._reduced @ b)
        return np.ascontiguousarray(s), (float(theta[-1]) if self.position_bias else 0.0)

    def coefficients(self, theta):
        """Coefficients of the features."""
        b = theta[: self.n_free]
        return b if self._basis is None else product(self._basis, b)

    def pull_back(self, pull):
        """``Z'`` of what was summed for each pair."""
        return self.from_items(np.append(self._to_items(self.all_pairs, pull), pull.sum()))

    def from_items(self, pull):
        """``Z'v`` from what was summed for each item, and last for the bias."""
        g = pull[:-1]
        if self.features is not None:
            g = np.asarray(self._reduced.T @ g)
        return np.append(g, pull[-1]) if self.position_bias else g

    def differences(self, theta):
        """``Z theta`` for each pair."""
        s, bias = self.scores(theta)
        return s[self.all_pairs.first] - s[self.all_pairs.second] + bias

    def item_differences(self, theta):
        """``Z theta`` for each pair without the position bias."""
        s, _ = self.scores(theta)
        return s[self.all_pairs.first] - s[self.all_pairs.second]

    def count_components(self, weight):
        """Number of components of the graph of the pairs with positive weight."""
        return self._components(weight)[0]

    def leverages(self, bread):
        """``z' bread z`` for each pair."""
        out = np.empty(len(self.all_pairs.first))
        for start in range(0, len(out), 50_000):
            rows = slice(start, start + 50_000)
            i, j = self.all_pairs.first[rows], self.all_pairs.second[rows]
            if self.features is not None:
                Z = _dense(self._reduced[i] - self._reduced[j])
                if self.position_bias:
                    Z = np.column_stack([Z, np.ones(len(Z))])
                out[rows] = np.einsum("ij,ij->i", product(Z, bread), Z)
                continue
            out[rows] = bread[i, i] + bread[j, j] - 2.0 * bread[i, j]
            if self.position_bias:
                out[rows] += 2.0 * (bread[i, -1] - bread[j, -1]) + bread[-1, -1]
        return out

    def score_variances(self, covariance):
        """Variances of the scores of all items about their mean (that of their component)."""
        n = self.n_free
        core = covariance[:n, :n]
        F = np.eye(n) if self.features is None else _dense(self._reduced)
        membership = self.component if self.features is None else np.zeros(self.n_items, dtype=int)
        mean = sparse.csr_array(
            (np.ones(self.n_items), (membership, np.arange(self.n_items)))
        ).astype(float)  # fmt: skip
        counts = np.bincount(membership)
        F = F - np.asarray((mean @ F) / counts[:, None])[membership]
        return np.einsum("ij,ij->i", product(F, core), F)

    def centred(self, theta):
        """Parameters whose scores sum to zero in every component, where each item has its own."""
        if self.features is not None:
            return theta
        b = theta[: self.n_free]
        mean = np.bincount(self.component, weights=b, minlength=self.n_components) / self._sizes
        out = theta.copy()
        out[: self.n_free] -= mean[self.component]
        return out

    def spread(self, theta):
        """A bound on what any ``|z'theta|`` can be."""
        if self.n_components > 1:
            theta = self.centred(theta)
        s, bias = self.scores(theta)
        return float(s.max() - s.min()) + abs(bias) if len(s) else 0.0

    def _components(self, weight):
        held = weight > 0.0
        ends = self.all_pairs.first[held], self.all_pairs.second[held]
        graph = sparse.coo_array((np.ones(held.sum(), dtype=np.int8), ends), shape=(self.n_items, self.n_items))
        return connected_components(graph.tocsr(), directed=False)

    def _to_items(self, pairs, pull):
        return np.bincount(pairs.first, weights=pull, minlength=self.n_items) - np.bincount(
            pairs.second, weights=pull, minlength=self.n_items
        )

    # --- systems

    def hessian(self, pairs):
        """The dense ``Z'WZ`` of weighted pairs, its lower triangle."""
        H = np.zeros((self.n_parameters, self.n_parameters), order="F")
        if self.features is None:
            fill_laplacian(pairs.first, pairs.second, pairs.weight, H)
        else:
            H[: self.n_free, : self.n_free] = self._gram(pairs, self._reduced)
        if self.position_bias:
            h = self._to_items(pairs, pairs.weight)
            H[-1, : self.n_free] = h if self.features is None else np.asarray(self._reduced.T @ h)
            H[-1, -1] = pairs.weight.sum()
        return H

    def multiply(self, pairs, x, correction=None):
        """``(Z'WZ - U U') x``."""
        s, bias = self.scores(x)
        out = np.zeros(len(s) + 1)
        laplacian_multiply(pairs.first, pairs.second, pairs.weight, s, bias, out)
        out = self.from_items(out)
        return out if correction is None else out - product(correction, product(correction.T, x))

    def solver(self, pairs, correction=None):
        """A function that solves ``(Z'WZ - U U') x = g``; ``correction`` is U."""
        if self._dense:
            H = self.hessian(pairs)
            if correction is not None and correction.shape[1]:
                H -= product(correction, correction.T)
            return self._cholesky(H)
        return self._iterative(pairs, correction)

    def inverse(self, pairs):
        """The dense pseudo-inverse of ``Z'WZ`` (up to what scores do not show)."""
        return self.solver(pairs)(np.eye(self.n_parameters))

    def _cholesky(self, H):
        diagonal = np.diagonal(H).copy()
        self._add_constants(H)
        full = np.maximum(np.diagonal(H), self._ridge / RIDGE * 1e-3)
        factor, info = dpotrf(H, lower=1, clean=0)
        if info != 0 or np.any(np.diagonal(factor) ** 2 < PIVOT * full):
            H[np.arange(len(H)), np.arange(len(H))] += self._ridge
            factor, info = dpotrf(H, lower=1, clean=0)
            if info != 0:
                H[np.arange(len(H)), np.arange(len(H))] += 1e3 * self._ridge + 1e-6 * diagonal
                factor, info = dpotrf(H, lower=1, clean=0)
        return lambda g: dpotrs(factor, g, lower=1)[0]

    def _add_constants(self, H):
        """Make the constants, which no comparison sees, have an eigenvalue of the common size."""
        if self.features is not None:
            return
        n = self.n_items
        level = max(np.trace(H[:n, :n]) / n, (self._ridge / RIDGE)[:n].mean() * 1e-3)
        if self.n_components == 1:
            H[:n, :n] += level / n
        else:
            for c in range(self.n_components):
                members = np.flatnonzero(self.component == c)
                H[np.ix_(members, members)] += level / len(members)

    def _iterative(self, pairs, correction):
        size = self.n_parameters
        diagonal = self._diagonal(pairs) + self._ridge

        def multiply(x):
            x = np.asarray(x).ravel()
            return self.multiply(pairs, x, correction) + self._ridge * x

        operator = LinearOperator((size, size), matvec=multiply, dtype=np.float64)
        jacobi = LinearOperator((size, size), matvec=lambda x: np.asarray(x).ravel() / diagonal, dtype=np.float64)
        state = {}

        def solve(g):
            if self._factored and self.features is None:
                if "factor" not in state:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        state["factor"] = splu(
                            (self._laplacian(pairs) + sparse.diags_array(self._ridge[: self.n_items])).tocsc(),
                            permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=dict(SymmetricMode=True),
                        )  # fmt: skip
                factor = state["factor"]

                def precondition(x):
                    x = np.asarray(x).ravel()
                    out = x / diagonal
                    out[: self.n_items] = factor.solve(x[: self.n_items])
                    return out

                M = LinearOperator((size, size), matvec=precondition, dtype=np.float64)
                return cg(operator, g, rtol=ACCURACY, atol=0.0, maxiter=PATIENCE, M=M)[0]
            x, info = cg(operator, g, rtol=ACCURACY, atol=0.0, maxiter=PATIENCE, M=jacobi)
            if info > 0:
                if self.features is None:
                    self._factored = True
                    return solve(g)
                x, info = cg(operator, g, x0=x, rtol=ACCURACY, atol=0.0, maxiter=20 * PATIENCE, M=jacobi)
            return x

        return lambda g: self.centred(solve(g))

    # --- structure

    def _keep_range(self):
        """Change to coordinates in which the features that the comparisons see have full rank."""
        F = self.features
        squares = F.multiply(F) if sparse.issparse(F) else F**2
        units = np.sqrt(np.asarray(squares.mean(axis=0)).ravel())
        units[units == 0.0] = 1.0
        gram = self._gram(self.all_pairs, F) / np.outer(units, units)
        values, vectors = np.linalg.eigh((gram + gram.T) / 2)
        kept = values > 1e-11 * max(values[-1], 0.0) if len(values) else np.zeros(0, dtype=bool)
        if kept.all():
            self._reduced = F
            return
        # an orthonormal basis of the range in the user's units gives the coefficients of least norm
        basis, _ = np.linalg.qr(vectors[:, kept] / units[:, None])
        null = vectors[:, ~kept] / units[:, None]
        if null.shape[1]:
            Q, _ = np.linalg.qr(null)
            basis, _ = np.linalg.qr(basis - Q @ (Q.T @ basis))
        self._basis, self._reduced = basis, np.asarray(F @ basis)
        self.n_free = basis.shape[1]

    def _gram(self, pairs, F):
        """``F'LF``, dense."""
        L = self._laplacian(pairs)
        return _dense(F.T @ (L @ F)) if sparse.issparse(F) else product(F.T, np.asarray(L @ F))

    def _laplacian(self, pairs):
        n = self.n_items
        ends = np.concatenate([pairs.first, pairs.second]), np.concatenate([pairs.second, pairs.first])
        L = sparse.coo_array((-np.concatenate([pairs.weight, pairs.weight]), ends), shape=(n, n)).tocsr()
        return L + sparse.diags_array(self._degrees(pairs))

    def _degrees(self, pairs):
        return np.bincount(pairs.first, weights=pairs.weight, minlength=self.n_items) + np.bincount(
            pairs.second, weights=pairs.weight, minlength=self.n_items
        )

    def _diagonal(self, pairs):
        if self.features is None:
            d = self._degrees(pairs)
        elif self._dense:
            d = np.diagonal(self._gram(pairs, self._reduced)).copy()
        else:
            squares = self.features.multiply(self.features) if sparse.issparse(self.features) else self.features**2
            d = np.asarray(squares.T @ self._degrees(pairs)).ravel()  # without cross terms: a preconditioner
        return np.append(d, pairs.weight.sum()) if self.position_bias else d

    def _bias_is_identified(self):
        """Whether all first items having an advantage differs from some scores."""
        total = self.all_pairs.weight
        target = self.pull_back(total)
        self.position_bias, keep = False, self._ridge
        self.n_parameters -= 1
        self._ridge = self._ridge[:-1]
        theta = self.solver(self.all_pairs)(target[:-1])
        left = total @ (1.0 - self.differences(theta)) ** 2
        self.position_bias, self._ridge = True, keep
        self.n_parameters += 1
        return left > 1e-10 * total.sum()


def _dense(M):
    return M.toarray() if sparse.issparse(M) else M
