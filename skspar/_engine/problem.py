"""Least-squares problems as the path solver sees them.

Row weights v sum to one. The intercept and the unpenalised columns are projected out, so what is left is

    min over B   1/2 ||Y - X B||_V^2 + alpha * penalty(B),      V = diag(v)

with Y and X orthogonal to them in the V metric. A row of weight zero is absent: a cross-validation fold is the same
problem with other weights, and costs no copy of X.

A problem answers three questions: the correlations at zero, blocks of the Gram matrix, and the correlations and
residual sums of squares of some solutions. `RowProblem` answers them by passing over X, `MomentProblem` from moments
alone.
"""

import numpy as np
from scipy.linalg import qr, solve_triangular

from ._blas import product, self_product, symmetric, zeros_to_add_to
from .design import CACHED, CHUNK, pieces

EPS = float(np.finfo(np.float64).eps)


class RowProblem:
    """A weighted least-squares problem on the rows of a design.

    ``evaluate`` is a generator: it yields weighted residuals, a column each, and is sent the products of the whole
    design with them. So a driver can serve many problems on one design by a single matrix product.
    """

    def __init__(self, design, Y, v, penalty, fit_intercept):
        self.design, self.v, self.penalty, self.fit_intercept = design, v, penalty, fit_intercept
        self.n_targets = Y.shape[1]
        self.present = np.flatnonzero(v)
        self._columns = penalty.columns
        self._identity = len(self._columns) == design.shape[1] and np.array_equal(
            self._columns, np.arange(design.shape[1])
        )
        self._y_mean = product(Y.T, v) if fit_intercept else np.zeros(self.n_targets)
        self._make_basis()
        Y = Y - self._y_mean
        self.null_objective = 0.5 * float(np.einsum("i,ij,ij->", v, Y, Y))
        self._y_basis = product(self._basis.T, v[:, None] * Y)
        self.Y = Y - product(self._basis, self._y_basis)
        self.project(self.Y)
        self.residual_at_zero = float(np.einsum("i,ij,ij->", v, self.Y, self.Y))

    def _make_basis(self):
        """V-orthonormal basis of the unpenalised columns (centred if there is an intercept)."""
        U = self.design.columns(self.penalty.unpenalized)
        raw = np.sqrt(product((U**2).T, self.v))
        self._u_mean = product(U.T, self.v) if self.fit_intercept else np.zeros(U.shape[1])
        U -= self._u_mean
        norms = np.sqrt(product((U**2).T, self.v))
        keep = norms > 1e-12 * raw
        self._u_kept = np.flatnonzero(keep)
        U = U[:, keep] / norms[keep]
        self._u_norms = norms[keep]
        if U.shape[1] == 0:
            self._basis = np.empty((len(self.v), 0))
            self._u_order, self._u_factor = np.empty(0, dtype=np.intp), np.empty((0, 0))
            return
        _, R, order = qr(np.sqrt(self.v)[:, None] * U, mode="economic", pivoting=True)
        rank = int(np.sum(np.abs(np.diag(R)) > 1e-11 * abs(R[0, 0])))
        self._u_order, self._u_factor = order[:rank], R[:rank, :rank]
        basis = solve_triangular(self._u_factor, U[:, self._u_order].T, trans="T").T
        # a second orthonormalisation removes what the conditioning of U cost
        _, R = np.linalg.qr(np.sqrt(self.v)[:, None] * basis)
        self._basis = solve_triangular(R, basis.T, trans="T").T
        self._u_factor = product(R, self._u_factor)

    @property
    def unpenalized_rank(self):
        return len(self._u_order)

    def project(self, M):
        """Make the columns of M orthogonal to the intercept and the unpenalised columns, in place."""
        self._project(M, self.v, self._basis)

    def _project(self, M, v, basis):
        if self.fit_intercept:
            M -= product(M.T, v)
        if basis.shape[1]:
            product(basis, product(basis.T, v[:, None] * M), M, scale=-1.0, keep=1.0)

    def correlations_at_zero(self):
        """``X' V Y`` (n_features, n_targets); a generator like ``evaluate``."""
        product = yield np.asfortranarray(self.v[:, None] * self.Y)
        return self._take(product)

    def _take(self, product):
        return product if self._identity else product[self._columns]

    @property
    def n_rows(self):
        """How many rows have weight."""
        return len(self.present)

    def scaled_target(self):
        """``V^1/2 Y`` on the rows that have weight."""
        return np.sqrt(self.v[self.present])[:, None] * self.Y[self.present]

    def scaled_columns(self, features, out=None):
        """``V^1/2 X_J`` on the rows that have weight, Fortran-ordered; in ``out`` if it is given."""
        out = np.empty((self.n_rows, len(features)), order="F") if out is None else out
        v, basis = self.v[self.present], self._basis[self.present]
        root = np.sqrt(v)[:, None]
        # pieces that stay in the cache
        for piece in pieces(len(features), self.n_rows, CACHED):
            block = self.design.columns(self._columns[features[piece]], self.present)
            self._project(block, v, basis)
            np.multiply(block, root, out=out[:, piece])
        return out

    @property
    def projection(self):
        """V-orthonormal basis of the intercept and the unpenalised columns."""
        ones = np.ones((len(self.v), int(self.fit_intercept)))
        return np.column_stack([ones, self._basis])

    @property
    def weighted_projection(self):
        return self.v[:, None] * self.projection

    def gram(self, K, n_last, out=None):
        """``X_K' V X_N``, N being the last features of K, symmetric where both are N.

        It is in ``out``, whose columns are contiguous, if that is given.
        """
        N = K[len(K) - n_last :]
        out = np.empty((len(K), n_last), order="F") if out is None else out
        if not (self.design.is_sparse or self.design.far or self._basis.shape[1]):
            self.design.gram(self._columns[K], n_last, self.v, self.fit_intercept, out)
            return out
        for piece in pieces(len(N), len(self.v)):
            XN = self.design.columns(self._columns[N[piece]])
            self.project(XN)
            XN *= self.v[:, None]
            out[:, piece] = self.design.correlate_some(self._columns[K], XN)
        corner = out[len(K) - n_last :]
        corner[:] = 0.5 * (corner + corner.T)
        return out

    def evaluate(self, features, solutions, accuracy):
        """Correlations and residual sums of squares of some solutions, each of shape (len(features), n_targets).

        Returns lists; the correlations have shape (n_features, n_targets). ``accuracy`` is what rounding may change a
        duality gap by; the rows themselves have no better answer to give.
        """
        stacked = np.hstack(solutions)
        used = np.flatnonzero(stacked.any(axis=1))
        R = np.asfortranarray(np.tile(self.Y, len(solutions)))
        if len(used):
            self.design.subtract_product(self._columns[features[used]], stacked[used], R)
            self.project(R)
        weighted = self.v[:, None] * R
        rss = np.einsum("ij,ij->j", R, weighted).reshape(len(solutions), -1).sum(axis=1)
        product = yield weighted
        T = self.n_targets
        return [self._take(product[:, i * T : (i + 1) * T]) for i in range(len(solutions))], rss

    def unpenalized_part(self, features, solutions):
        """Intercepts (n_solutions, n_targets) and coefficients of the unpenalised columns for some solutions."""
        columns, shift = self._columns[features], self.design.shift
        U = self.penalty.unpenalized
        intercepts = np.zeros((len(solutions), self.n_targets))
        coefficients = np.zeros((len(solutions), len(U), self.n_targets))
        if not self.fit_intercept and len(U) == 0:
            return intercepts, coefficients
        against = np.column_stack([self.v, self.v[:, None] * self._basis])
        offsets = self.design.correlate_some(columns, against) if len(columns) else np.zeros((0, against.shape[1]))
        for i, B in enumerate(solutions):
            if len(self._u_order):
                b = solve_triangular(self._u_factor, self._y_basis - product(offsets[:, 1:].T, B))
                kept = self._u_kept[self._u_order]
                coefficients[i, kept] = b / self._u_norms[self._u_order, None]
            if self.fit_intercept:
                intercepts[i] = (
                    self._y_mean
                    - product(B.T, offsets[:, 0] + shift[columns])
                    - product(coefficients[i].T, self._u_mean + shift[U])
                )
        return intercepts, coefficients


class Moments:
    """Weighted sums of products about a common origin; those of disjoint sets of rows add and subtract."""

    def __init__(self, weight, x, y, xx, xy, yy, x_origin, y_origin):
        self.weight, self.x, self.y, self.xx, self.xy, self.yy = weight, x, y, xx, xy, yy
        self.x_origin, self.y_origin = x_origin, y_origin

    def _combined(self, other, sign):
        names = ("weight", "x", "y", "xx", "xy", "yy")
        sums = [getattr(self, name) + sign * getattr(other, name) for name in names]
        return Moments(*sums, self.x_origin, self.y_origin)

    def __add__(self, other):
        return self._combined(other, 1.0)

    def __sub__(self, other):
        return self._combined(other, -1.0)

    def of_target(self, t):
        """The moments of one target."""
        part = slice(t, t + 1)
        xy, y = self.xy[:, part], self.y[part]
        return Moments(self.weight, self.x, y, self.xx, xy, self.yy[part], self.x_origin, self.y_origin[part])

    @classmethod
    def of_rows(cls, design, Y, weights, x_origin, y_origin, rows, centred, xy=None):
        """Moments of some rows of a design; those of first order only if they will be ``centred``; ``xy`` if known."""
        p, T = design.shape[1], Y.shape[1]
        x, y, xx, yy = np.zeros(p), np.zeros(T), zeros_to_add_to((p, p)), np.zeros(T)
        summed = np.zeros((p, T))
        everything = np.arange(p)
        step = max(1, CHUNK // max(p, 1))
        if design.is_sparse:
            origin = x_origin - design.shift
            full = np.zeros(design.shape[0])
            full[rows] = weights[rows]
            Z = full[:, None] * (Y - y_origin)
            if xy is None:
                summed = design.correlate_some(everything, Z) - np.outer(origin, Z.sum(axis=0))
            x[:] = design.correlate_some(everything, full[:, None])[:, 0] - origin * full.sum()
            y, yy = Z.sum(axis=0), np.einsum("ij,ij->j", Z, Y - y_origin)
            for piece in pieces(p, design.shape[0]):
                block = design.columns(everything[piece]) - origin[piece]
                block *= full[:, None]
                xx[:, piece] = design.correlate_some(everything, block) - np.outer(origin, block.sum(axis=0))
            xx = 0.5 * (xx + xx.T)
        else:
            equal = np.all(weights[rows] == weights[rows[0]]) if len(rows) else True
            if equal and design.plain and len(rows) == design.shape[0] and not x_origin.any():
                # X as it is needs no copy
                step = len(rows)
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                root = np.sqrt(weights[part])[:, None]
                Z = design.X if step == design.shape[0] else design.columns(everything, part, x_origin)
                D = Y[part] - y_origin
                if not equal:
                    Z *= root
                    D *= root
                    ones = root[:, 0]
                else:
                    ones = np.ones(len(part))
                if centred:
                    x += product(Z.T, ones)
                    y += product(D.T, ones)
                self_product(Z, xx)
                if xy is None:
                    product(Z.T, D, summed, keep=1.0)
                yy += np.einsum("ij,ij->j", D, D)
            if equal and len(rows):
                # equal weights need no pass over the block
                for total in (x, y, xx, summed, yy):
                    total *= weights[rows[0]]
            symmetric(xx)
        xy = summed if xy is None else xy
        return cls(float(weights[rows].sum()), x, y, xx, xy, yy, x_origin, y_origin)

    @classmethod
    def in_single(cls, design, Y, v, x_origin, y_origin, centred, xy):
        """Moments of all rows, the products of the columns in single precision; None where that has not the range.

        ``xy`` are the products with the response. A design that BLAS can multiply as it is only.
        """
        xx = design.single_gram(v, x_origin)
        if xx is None:
            return None
        x = design.correlate(v[:, None])[:, 0] - x_origin if centred else np.zeros(len(xx))
        D = Y - y_origin
        return cls(1.0, x, product(D.T, v), xx, xy, np.einsum("i,ij,ij->j", v, D, D), x_origin, y_origin)


class MomentProblem:
    """The same problem from moments, so that hardly a question needs a pass over X.

    ``rows`` makes the `RowProblem`: moments cancel where coefficients are large beside the fit, so solutions there are
    certified from the rows; all are, if the products are known to single precision only (``eps``).

    Attributes
    ----------
    n_rows : float
        Infinite: whatever the number of features, their Gram matrix is at hand.
    reliable : bool
        False where the unpenalised columns are too nearly collinear for moments; use the rows then.
    """

    n_rows = np.inf
    design = None

    def __init__(self, moments, penalty, fit_intercept, rows, eps=EPS):
        self.penalty, self.fit_intercept, self._eps = penalty, fit_intercept, eps
        self._make_rows, self._rows = rows, None
        self._columns = penalty.columns
        self._distinct = len(np.unique(self._columns)) == len(self._columns)
        self.n_targets = len(moments.y)
        weight = moments.weight
        self._x_mean = moments.x / weight
        self._y_mean = moments.y / weight
        G, q, yy = moments.xx, moments.xy / weight, moments.yy / weight
        if abs(weight - 1.0) > 1e-14:
            G = G / weight
        self._sizes, self._y_size = np.sqrt(np.diag(G)), np.sqrt(yy)
        if fit_intercept:
            raw = np.diag(G).copy()
            G = G - np.outer(self._x_mean, self._x_mean)
            q -= np.outer(self._x_mean, self._y_mean)
            yy = np.maximum(yy - self._y_mean**2, 0.0)
            # columns constant on these rows leave rounding errors only
            constant = np.diag(G) <= 1e-14 * raw
            G[constant] = 0.0
            G[:, constant] = 0.0
            q[constant] = 0.0
        self._x_mean = self._x_mean + moments.x_origin
        self._y_mean = self._y_mean + moments.y_origin
        self.null_objective = 0.5 * float(yy.sum())
        self.reliable = True
        self.unpenalized_rank = 0
        U = penalty.unpenalized
        self._u_solve = np.empty((0, G.shape[0]))
        self._u_target = np.empty((0, self.n_targets))
        if len(U):
            scale = np.sqrt(np.diag(G)[U])
            kept = scale > 0.0
            scale[~kept] = 1.0
            correlation = G[np.ix_(U, U)] / np.outer(scale, scale)
            values, vectors = np.linalg.eigh(correlation)
            sound = values > 1e-14 * len(U)
            self.unpenalized_rank = int(sound.sum())
            self.reliable = bool(np.all(values[sound] > 1e-7))
            inverse = product(vectors[:, sound] / values[sound], vectors[:, sound].T) / np.outer(scale, scale)
            self._u_solve = product(inverse, G[U])
            self._u_target = product(inverse, q[U])
            yy = yy - np.einsum("ij,ij->j", q[U], self._u_target)
            q = q - product(G[:, U], self._u_target)
            G = G - product(G[:, U], self._u_solve)
        self._G, self._q = G, q
        self.residual_at_zero = float(np.maximum(yy, 0.0).sum())

    def correlations_at_zero(self):
        return self._q[self._columns]
        yield  # a generator, like that of RowProblem

    def gram(self, K, n_last, out=None):
        """``X_K' V X_N``, N being the last features of K; in ``out``, whose columns are contiguous, if it is given."""
        found = self._G[np.ix_(self._columns[K], self._columns[K[len(K) - n_last :]])]
        if out is None:
            return found
        out[...] = found
        return out

    def evaluate(self, features, solutions, accuracy):
        """Correlations and residual sums of squares; see `RowProblem.evaluate`."""
        columns = self._columns[features]
        if max(self._rounding(columns, B) for B in solutions) > accuracy:
            if self._rows is None:
                self._rows = self._make_rows()
            return (yield from self._rows.evaluate(features, solutions, accuracy))
        correlations, rss = [], []
        T = self.n_targets
        stacked = np.zeros((len(self._q), len(solutions) * T), order="F")
        for i, B in enumerate(solutions):
            if self._distinct:
                stacked[columns, i * T : (i + 1) * T] = B
            else:
                np.add.at(stacked[:, i * T : (i + 1) * T], columns, B)
        used = np.flatnonzero(stacked.any(axis=1))
        every = np.asfortranarray(np.tile(self._q, len(solutions)))
        if 2 * len(used) < len(stacked):
            # G is symmetric; columns that are contiguous are copied faster than products with all are formed
            product(self._G.T[used].T, stacked[used], every, scale=-1.0, keep=1.0)
        else:
            product(self._G, stacked, every, scale=-1.0, keep=1.0)
        for i, B in enumerate(solutions):
            used = np.flatnonzero(B.any(axis=1))
            C = every[:, i * T : (i + 1) * T]
            rss.append(self.residual_at_zero - float(np.sum(B[used] * (self._q + C)[columns[used]])))
            correlations.append(C[self._columns])
        return correlations, np.maximum(rss, 0.0)

    def _rounding(self, columns, B):
        """What rounding may change the duality gap of a solution by."""
        return 4.0 * self._eps * float(np.sum((self._y_size + self._sizes[columns] @ np.abs(B)) ** 2))

    def unpenalized_part(self, features, solutions):
        """Intercepts (n_solutions, n_targets) and coefficients of the unpenalised columns for some solutions."""
        columns, U = self._columns[features], self.penalty.unpenalized
        intercepts = np.zeros((len(solutions), self.n_targets))
        coefficients = np.zeros((len(solutions), len(U), self.n_targets))
        for i, B in enumerate(solutions):
            coefficients[i] = self._u_target - product(self._u_solve[:, columns], B)
            if self.fit_intercept:
                intercepts[i] = (
                    self._y_mean - product(B.T, self._x_mean[columns]) - product(coefficients[i].T, self._x_mean[U])
                )
        return intercepts, coefficients
