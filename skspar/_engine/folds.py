"""A penalised least-squares regression on one design: its path, and the same path for all cross-validation folds.

A fold differs from the whole by row weights only (held-out rows weigh nothing). Wide designs: the folds' paths
advance together, and what they ask of X is one matrix product. Tall designs: the moments of the held-out rows are
computed once, and a fold's are those of all rows minus its own.
"""

import mmap
from copy import copy
from functools import partial

import numpy as np

from ._blas import product
from .degrees_of_freedom import degrees_of_freedom
from .design import make_design, pieces
from .least_squares import least_squares
from .path import drive, largest_dual_norm, solve_path
from .penalty import BlockPenalty
from .problem import MomentProblem, Moments, RowProblem
from .threads import threads

# Moments in single precision take half the time, and a pass or two over X to certify each alpha: up to so many alphas,
# and from so many columns on, that pays.
FEW_POINTS, WIDE = 3, 400


class Regression:
    """``min 1/2 sum_i v_i ||y_i - b0 - x_i'B||^2 + alpha * penalty(B)``, v the weights scaled to sum one.

    Parameters
    ----------
    X : ndarray or CSC matrix of shape (n, p)
    Y : ndarray of float64 of shape (n, T)
    weights : ndarray of shape (n,)
        Nonnegative, not all zero.
    penalty : BlockPenalty
        Its layout (groups) holds for every call; its l1_ratio may be replaced in a call.
    fit_intercept : bool
    n_points : int
        How many alphas the design will be asked for, all in all; decides whether moments pay.
    """

    def __init__(self, X, Y, weights, penalty, fit_intercept, n_points=1):
        self.weights = np.asarray(weights, dtype=np.float64)
        self.v = self.weights / self.weights.sum()
        self.penalty, self.fit_intercept = penalty, fit_intercept
        self.design = make_design(X, self.v, fit_intercept, exact_mean=False)
        # centred first, and a response that is constant up to rounding is made exactly so; then brought to entries of
        # at most one, so that no square under- or overflows
        present = self.v > 0.0
        self._y_shift = product(Y[present].T, self.v[present]) if fit_intercept else np.zeros(Y.shape[1])
        largest = np.abs(Y[present]).max(axis=0, initial=0.0)
        Y = Y - self._y_shift
        Y[:, np.abs(Y[present]).max(axis=0, initial=0.0) <= 8.0 * np.finfo(np.float64).eps * largest] = 0.0
        # a power of two: the coefficients given back are, to the last bit, those that were certified
        self.scale = 2.0 ** float(np.clip(np.frexp(np.abs(Y[present]).max(initial=0.0))[1], -1000, 1000))
        if self.scale >= 2.0**500:
            raise ValueError(
                f"y must have entries below 1e150, whose squares can be summed; the largest is about {self.scale:.0e} "
                "(from the mean). Divide y by its scale."
            )
        self._Y = Y / self.scale
        self._by_moments = _moments_pay(self.design, n_points)
        self._moments = None
        self.rows = RowProblem(self.design, self._Y, self.v, penalty, fit_intercept)
        self.q = drive(self.design, [self.rows.correlations_at_zero()])[0]
        self.null_objective = self.rows.null_objective * self.scale**2

    @property
    def n_targets(self):
        return self._Y.shape[1]

    def of_target(self, t):
        """The regression of one target; what the targets share is not computed again."""
        one = copy(self)
        one._Y, one._y_shift, one.q = self._Y[:, t : t + 1], self._y_shift[t : t + 1], self.q[:, t : t + 1]
        one.rows = RowProblem(self.design, one._Y, self.v, self.penalty, self.fit_intercept)
        one.null_objective = one.rows.null_objective * self.scale**2
        if self._by_moments:
            self.problem()
            one._moments = self._moments.of_target(t)
        return one

    def alpha_max(self, l1_ratio):
        """Smallest alpha at which every penalised coefficient is zero."""
        return self.scale * largest_dual_norm(self.penalty.with_l1_ratio(l1_ratio), self.q)

    def path(self, l1_ratio, alphas, tol, max_iter, start=None):
        """Solutions for decreasing alphas; ``start`` holds coefficients (p, T) to begin from."""
        penalty = self.penalty.with_l1_ratio(l1_ratio)
        positive = alphas[alphas > 0.0]
        top = self.alpha_max(l1_ratio)
        if start is None and len(positive) and positive[-1] < top:
            decades = np.log10(top) - np.log10(positive[-1])
            self._by_moments = self._by_moments or _moments_pay(self.design, len(positive), decades)
        if start is not None:
            start = start[self.penalty.columns] / self.scale

        def solve(problem):
            # the very correlations that alpha_max came from, so that alpha_max itself gives exactly zero
            generator = solve_path(problem, penalty, positive / self.scale, tol, max_iter, self.q, start)
            return drive(self.design, [generator])[0]

        problem = self._single_problem() if len(positive) <= FEW_POINTS else None
        if problem is not None:
            result = solve(problem)
            if result.converged.all():
                return Solutions(self, self.rows, penalty, result, self.v, alphas)
        problem = self.problem()
        return Solutions(self, problem, penalty, solve(problem), self.v, alphas)

    def folds(self, l1_ratios, alphas, splits, tol, max_iter, n_jobs=None, reports=None):
        """Solutions for every fold: a list (l1 ratios) of lists (folds); ``alphas`` has a grid for each l1 ratio.

        ``reports`` holds a function for each of them, one after the other, to be called whenever an alpha is done.
        """
        weights = []
        for train, _ in splits:
            counts = np.bincount(train, minlength=len(self.weights))
            weights.append(self.weights * counts)
        problems = self._fold_moments(splits, weights) if self._by_moments else [None] * len(splits)
        weights = [w / w.sum() for w in weights]
        for k, v in enumerate(weights):
            if problems[k] is None:
                problems[k] = RowProblem(self.design, self._Y, v, self.penalty, self.fit_intercept)
        tasks = [
            (problem, v, self.penalty.with_l1_ratio(l1_ratio), grid)
            for l1_ratio, grid in zip(l1_ratios, alphas)
            for problem, v in zip(problems, weights)
        ]
        generators = [
            solve_path(problem, penalty, grid[grid > 0.0] / self.scale, tol, max_iter, report=report)
            for (problem, _, penalty, grid), report in zip(tasks, reports or [None] * len(tasks))
        ]
        results = []
        with threads(n_jobs) as (n_threads, run):
            together = max(n_threads, self._folds_at_once())
            for start in range(0, len(generators), together):
                results += drive(self.design, generators[start : start + together], run, n_threads)
        solutions = [
            Solutions(self, problem, penalty, result, v, grid)
            for (problem, v, penalty, grid), result in zip(tasks, results)
        ]
        k = len(splits)
        return [solutions[i * k : (i + 1) * k] for i in range(len(l1_ratios))]

    def _folds_at_once(self):
        """How many paths may advance together: each keeps the Gram matrix of its working set."""
        n, p = self.design.shape
        # a working set rarely outgrows twice the rank; half of that squared is the factor of the support
        each = 8.0 * 1.5 * min(p, 2 * n) ** 2
        return max(1, int(max(64e6, 0.2 * self.design.nbytes) / each))

    def heldout_errors(self, solutions, test):
        """Weighted mean squared error of solutions on some rows, averaged over targets."""
        return self._errors(solutions.columns, solutions.values, solutions.intercepts, test).mean(axis=1)

    def training_errors(self, columns, values, intercepts):
        """Weighted mean squared error on all rows, averaged over targets; see `Solutions` for the shapes."""
        return self._errors(columns, values, intercepts, np.arange(len(self.v))).mean(axis=1)

    def residual_norms(self, solutions):
        """``sqrt(sum_i s_i r_i^2)``, (n_solutions, n_targets)."""
        rows = np.arange(len(self.v))
        errors = self._errors(solutions.columns, solutions.values, solutions.intercepts, rows)
        return np.sqrt(errors * self.weights.sum())

    def _errors(self, columns, values, intercepts, rows):
        """Weighted mean squared errors, (n_solutions, n_targets)."""
        design = self.design
        n_solutions, _, T = values.shape
        stacked = values.transpose(1, 0, 2).reshape(len(columns), n_solutions * T) / self.scale
        # the design is read shifted, so the intercept takes the shift
        constant = (intercepts + np.einsum("j,ajt->at", design.shift[columns], values)).ravel()
        constant = (constant - np.tile(self._y_shift, n_solutions)) / self.scale
        w = self.weights[rows] / self.weights[rows].sum()
        total = np.zeros(n_solutions * T)
        if design.is_sparse:
            residual = np.zeros((design.shape[0], n_solutions * T))
            design.subtract_product(columns, stacked, residual)
            blocks = [(rows, residual[rows])]
        else:
            blocks = (
                (rows[piece], product(design.columns(columns, rows[piece]), stacked, scale=-1.0))
                for piece in pieces(len(rows), len(columns) + n_solutions * T)
            )
        start = 0
        for part, residual in blocks:
            residual -= constant
            residual += np.tile(self._Y[part], n_solutions)
            total += product((residual**2).T, w[start : start + len(part)])
            start += len(part)
        return total.reshape(n_solutions, T) * self.scale**2

    def least_squares(self, columns):
        """Least squares on some columns: coefficients, intercepts, objective above the minimum."""
        return self._least_squares(columns, self.v)

    def rank(self, columns):
        """Rank of some columns (centred if there is an intercept)."""
        layout = BlockPenalty(np.empty(0, dtype=np.intp), np.zeros(1, dtype=np.intp), np.empty(0), columns)
        return RowProblem(self.design, self._Y, self.v, layout, self.fit_intercept).unpenalized_rank

    def _least_squares(self, columns, v):
        B, intercept, excess = least_squares(self.design, self._Y, v, columns, self.fit_intercept)
        return B * self.scale, intercept * self.scale + self._y_shift, excess * self.scale**2

    def _products(self):
        """Products of all columns with the response, which the correlations at zero are unless columns are left out."""
        whole = len(self.q) == self.design.shape[1] and np.array_equal(self.penalty.columns, np.arange(len(self.q)))
        return self.q if whole else None

    def _single_problem(self):
        """The problem by moments in single precision, to be certified from the rows, where that pays; or None."""
        design, xy = self.design, self._products()
        ready = self._by_moments and self._moments is None and xy is not None
        if not ready or design.is_sparse or not design.plain or design.shape[1] < WIDE:
            return None
        moments = Moments.in_single(design, self._Y, self.v, *self._origins(), self.fit_intercept, xy)
        if moments is None:
            return None
        eps = float(np.finfo(np.float32).eps)
        return MomentProblem(moments, self.penalty, self.fit_intercept, lambda: self.rows, eps)

    def problem(self):
        """The problem on all rows, in the form that pays."""
        if self._by_moments:
            if self._moments is None:
                self._moments = self._moments_of(self.v, np.arange(len(self.v)), self._products())
            problem = MomentProblem(self._moments, self.penalty, self.fit_intercept, lambda: self.rows)
            if problem.reliable:
                return problem
        return self.rows

    def _origins(self):
        """What moments are about."""
        if not self.fit_intercept:
            return np.zeros(self.design.shape[1]), np.zeros(self._Y.shape[1])
        return self.design.mean, product(self._Y.T, self.v)

    def _moments_of(self, weights, rows, xy=None):
        return Moments.of_rows(self.design, self._Y, weights, *self._origins(), rows, self.fit_intercept, xy)

    def _fold_moments(self, splits, weights):
        everything = np.arange(len(self.v))
        n = len(everything)
        covered = np.bincount(np.concatenate([test for _, test in splits]), minlength=n)
        complements = [
            np.array_equal(np.bincount(train, minlength=n), 1 - np.bincount(test, minlength=n))
            for train, test in splits
        ]
        heldout = [None] * len(splits)
        for k, (_, test) in enumerate(splits):
            if complements[k] and self.weights[test].sum() <= 0.5 * self.weights.sum():
                heldout[k] = self._moments_of(self.v, test)
        if self._moments is None:
            if np.all(covered == 1) and all(part is not None for part in heldout):
                self._moments = sum(heldout[1:], start=heldout[0])
            else:
                self._moments = self._moments_of(self.v, everything)
        problems = []
        for k, w in enumerate(weights):
            if heldout[k] is None:
                moments = self._moments_of(w, np.flatnonzero(w))
            else:
                moments = self._moments - heldout[k]
                heldout[k] = None
            rows = partial(RowProblem, self.design, self._Y, w / w.sum(), self.penalty, self.fit_intercept)
            problem = MomentProblem(moments, self.penalty, self.fit_intercept, rows)
            problems.append(problem if problem.reliable else None)
        return problems


class Solutions:
    """Solutions of a path in the units of the data.

    Attributes
    ----------
    columns : ndarray
        The columns of the design that can have nonzero coefficients.
    values : ndarray of shape (n_alphas, len(columns), T)
        Their coefficients.
    alphas : ndarray of shape (n_alphas,)
    intercepts : ndarray of shape (n_alphas, T)
    gaps, n_iters, converged : ndarray of shape (n_alphas,)
    """

    def __init__(self, regression, problem, penalty, result, v, alphas):
        scale, n_alphas, T = regression.scale, len(alphas), problem.n_targets
        self._regression, self._problem, self._penalty, self.alphas = regression, problem, penalty, alphas
        self._features, self._latent = result.features, result.padded()
        in_play = penalty.columns[result.features]
        k = len(self._latent)
        if k < n_alphas:
            self.columns = np.arange(regression.design.shape[1])
        else:
            self.columns = np.union1d(in_play, penalty.unpenalized).astype(np.intp)
        places = np.searchsorted(self.columns, in_play)
        free = np.searchsorted(self.columns, penalty.unpenalized)
        intercepts, unpenalized = problem.unpenalized_part(result.features, self._latent)
        self.values = np.zeros((n_alphas, len(self.columns), T))
        distinct = len(np.unique(places)) == len(places)
        for value, B, b in zip(self.values, self._latent, unpenalized):
            if distinct:
                value[places] = B * scale
            else:
                # columns repeat where groups overlap: the coefficient is the sum of the latent ones
                np.add.at(value, places, B * scale)
            value[free] = b * scale
        self.intercepts, self.gaps = np.zeros((n_alphas, T)), np.zeros(n_alphas)
        self.n_iters, self.converged = np.ones(n_alphas, dtype=int), np.ones(n_alphas, dtype=bool)
        self.intercepts[:k] = intercepts * scale + regression._y_shift
        self.gaps[:k] = result.gaps * scale**2
        self.n_iters[:k], self.converged[:k] = result.n_iters, result.converged
        self.n_passes = result.n_passes
        if k < n_alphas:
            # alpha = 0, where the grid has it: least squares
            self.values[k:], self.intercepts[k:], self.gaps[k:] = regression._least_squares(self.columns, v)

    def residual_norms(self):
        """``sqrt(sum_i s_i r_i^2)``, (n_alphas, T)."""
        return self._regression.residual_norms(self)

    def coefs_at(self, place):
        """Coefficients of all columns at one alpha, (p, T)."""
        coefs = np.zeros((self._regression.design.shape[1], self.values.shape[2]))
        coefs[self.columns] = self.values[place]
        return coefs

    def path_coefs(self, dtype=np.float64):
        """Coefficients of all columns, (T, p, n_alphas)."""
        shape = (self.values.shape[2], self._regression.design.shape[1], len(self.values))
        coefs = _zeros(shape, dtype, self.values.shape[2] * len(self.columns))
        for target in range(len(coefs)):
            coefs[target, self.columns] = np.ascontiguousarray(self.values[:, :, target].T)
        return coefs

    def degrees_of_freedom(self):
        """Degrees of freedom of each solution, the intercept not counted."""
        regression = self._regression
        found = [
            degrees_of_freedom(self._problem, self._penalty, self._features, B, alpha / regression.scale)
            for B, alpha in zip(self._latent, self.alphas)
        ]
        if len(found) < len(self.alphas):
            rank = regression.rank(np.arange(regression.design.shape[1])) * self.values.shape[2]
            found += [rank] * (len(self.alphas) - len(found))
        return np.array(found, dtype=np.float64)


def _zeros(shape, dtype, n_rows):
    """Zeros, of which ``n_rows`` rows (along the last axis) will be written to: the others cost no memory.

    NumPy asks for huge pages, and in each there is a row that is written to.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    row = size // max(1, int(np.prod(shape[:-1])))
    if size < 1 << 22 or 2 * n_rows * max(row, mmap.PAGESIZE) > size or not hasattr(mmap, "MAP_PRIVATE"):
        return np.zeros(shape, dtype=dtype)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(pages, dtype=dtype).reshape(shape)


def _moments_pay(design, n_points, decades=0.0):
    """Whether one Gram matrix of all columns is cheaper than passing over X as often as the path will ask.

    It asks more often the further down it goes, ``decades`` below the largest alpha.
    """
    n, p = design.shape
    passes = 8.0 + 0.35 * n_points + 0.45 * decades**2
    if design.is_sparse:
        density = design.X.nnz / max(n * p, 1)
        return p <= n and p <= 2000 and density * p <= 2.0 * passes
    small = p <= 2000 or p <= 0.15 * n
    return p <= n and small and p <= 100.0 * passes
