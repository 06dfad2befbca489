"""A Split-LBI problem from what a user passes, in the terms of the engine, and the way back."""

from functools import partial

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator
from sklearn.utils import Bunch, check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from ._engine._blas import product
from ._engine._columns import dense_correlate
from ._engine.bregman import Units, run, sparse_estimates
from ._engine.schedule import StepTooLong, TooManySteps, hessian_bound, make_schedule, transferred
from ._engine.smooth import Smooth, fold_problems
from ._engine.split_operator import SplitOperator
from ._groups import resolve_groups
from ._linear import check_range
from ._weights import check_weights


class SplitProblem:
    """A validated problem in the terms of the engine, and the way back to the user's units."""

    def __init__(self, X, y, loss, sample_weight, D, nu, groups, names, fit_intercept, operator=None, units=None):
        self.weights = check_weights(sample_weight, X)
        check_range(X)
        self.classes, self.loss, self.nu = None, loss, nu
        Y = np.asarray(y)
        if loss != "squared":
            self.classes, codes = np.unique(Y, return_inverse=True)
            shares = np.bincount(codes, weights=self.weights, minlength=len(self.classes))
            if np.count_nonzero(shares) < 2:
                present = self.classes[shares > 0.0].tolist()
                raise ValueError(f"y must have two or more classes in rows of positive weight; got 1 class, {present}.")
            if not shares.all():
                raise ValueError(
                    f"sample_weight must be positive in some row of every class; the class "
                    f"{self.classes[shares == 0.0].tolist()} has none."
                )
            if loss == "logistic" and len(self.classes) > 2:
                raise ValueError(
                    f"loss='logistic' must be combined with two classes; y has {len(self.classes)} (loss='multinomial' "
                    "takes any number)."
                )
            self.indicators = (codes[:, None] == np.arange(len(self.classes))).astype(np.float64)
            Y = self.indicators[:, 1:] if loss == "logistic" else self.indicators
        self.Y = Y.astype(np.float64).reshape(len(Y), -1)
        if operator is None and nu is not None:
            operator = SplitOperator(_operator(D, X.shape[1]))
            if not (1.0 + operator.squared_norm) < 1e300 * nu:
                raise ValueError(
                    f"nu must be larger, or D smaller, so that (1 + ||D||^2) / nu stays below 1e300; got nu={nu:g} "
                    f"and ||D||^2={operator.squared_norm:g}."
                )
        elif nu is None and D is not None:
            raise ValueError(
                "nu=None, the plain iteration, must be combined with D=None; pass a positive nu to make D b sparse."
            )
        self.operator = operator
        n_rows = X.shape[1] if operator is None else operator.shape[0]
        self.units = _units(groups, n_rows, names if D is None else None) if units is None else units
        self.problem = Smooth(X, self.Y, self.weights, loss, fit_intercept)
        self._rows, self._fit_intercept = X.tocsr() if sparse.issparse(X) else X, fit_intercept

    def schedule(self, kappa, kappa_units, t_ratio, n_times, step, start, max_steps, bound=None):
        try:
            return make_schedule(
                self.problem,
                self.operator,
                self.units,
                nu=self.nu,
                kappa=float(kappa),
                relative=kappa_units == "initial",
                t_ratio=float(t_ratio),
                n_times=int(n_times),
                step=step,
                first_entry=start == "first_entry",
                max_iter=max_steps,
                bound=bound,
            )
        except StepTooLong as error:
            raise ValueError(
                f"step={step!r} is not stable: it must be smaller than 2 / (kappa lambda_max) = {error}, with "
                "lambda_max the largest eigenvalue of the Hessian in b and gamma."
            ) from None
        except TooManySteps as error:
            raise ValueError(
                f"max_steps={max_steps} is less than the {error} steps that the path would take. Bring the features to "
                f"smaller, comparable scales, or pass a smaller nu, kappa (now {kappa:g} in {kappa_units!r} units) or "
                "t_ratio."
            ) from None

    def path(self, schedule, dtype=np.float64):
        """The path as the public Bunch."""
        problem, scale = self.problem, self.problem.scale
        with np.errstate(over="ignore", invalid="ignore"):
            found = run(problem, self.operator, self.units, schedule, scale)
        with np.errstate(over="ignore"):
            times = schedule.times / scale
            entries = np.where(found.first >= 0, schedule.offset + schedule.step * found.first, np.inf) / scale
            intercepts = problem.intercepts(found.coefs, scale)
        if not found.finite:
            check_finite(found.coefs, found.gammas)
        coefs, intercepts = _public(found.coefs, dtype), _public(intercepts, dtype)
        if self.operator is None:
            # b is gamma
            gammas, coefs_sparse, intercepts_sparse = coefs, coefs, intercepts
        else:
            projected = sparse_estimates(self.operator, found)
            gammas, coefs_sparse = _public(found.gammas, dtype), _public(projected, dtype)
            intercepts_sparse = _public(problem.intercepts(projected, scale), dtype)
        check_times(times)
        out = Bunch(
            times=times,
            coefs=coefs,
            gammas=gammas,
            coefs_sparse=coefs_sparse,
            intercepts=intercepts,
            intercepts_sparse=intercepts_sparse,
            first_entry=entries,
            kappa=float(schedule.kappa) * float(scale),
            step=float(schedule.step) / float(scale),
            n_steps=schedule.recorded.copy(),
        )
        check_finite(out.intercepts, *([] if dtype == np.float64 else [out.coefs, out.gammas]))
        return out

    def folds(self, splits, run_all):
        """The problems of the training rows; ``run_all`` maps thunks to their results."""
        if self.loss == "squared" and self.problem.prefers_gram and self.weights.all() and self.problem.p <= 2000:
            problems = fold_problems(self.problem, splits, run_all)
            if problems is not None:
                return problems

        def of_rows(train):
            return Smooth(self._rows[train], self.Y[train], self.weights[train], self.loss, self._fit_intercept)

        return run_all([partial(of_rows, train) for train, _ in splits])

    def shared_bound(self, splits):
        """A bound on the Hessian whose step is stable in every fold.

        The Hessian of some rows is at most that of all, times the ratio of the weights; the step of a bound is half of
        what is stable.
        """
        ratio = max(self.weights.sum() / self.weights[train].sum() for train, _ in splits)
        return hessian_bound(self.problem, self.operator, self.nu) * max(1.0, ratio / 1.8)

    def fold_errors(self, schedule, problem, test, sparse_one):
        """Weighted mean squared errors or log losses of a fold's path in its held-out rows, (n_times,)."""
        found = run(problem, self.operator, self.units, transferred(schedule, self.problem, problem, self.operator))
        coefs = sparse_estimates(self.operator, found) if sparse_one else found.coefs
        check_finite(coefs)
        intercepts = problem.intercepts(coefs)
        test = test[self.weights[test] > 0.0]
        v = self.weights[test] / self.weights[test].sum()
        part, Y = self._rows[test], self.Y[test]
        T, p, K = coefs.shape
        stacked = np.ascontiguousarray(coefs.transpose(1, 0, 2)).reshape(p, T * K)
        scores = part @ stacked if sparse.issparse(part) else product(part, stacked)
        scores = scores.reshape(len(test), T, K) + intercepts
        if self.loss == "squared":
            return v @ (Y - scores[:, :, 0] * problem.scale) ** 2
        if self.loss == "logistic":
            return v @ (np.logaddexp(0.0, scores[:, :, 0]) - Y * scores[:, :, 0])
        return v @ (np.logaddexp.reduce(scores, axis=2) - (scores * Y[:, None]).sum(axis=2))


def _public(values, dtype):
    """(n_times, ..., K) as (..., n_times) for one column and (K, ..., n_times) for several."""
    values = np.moveaxis(values, 0, -1)
    values = values[..., 0, :] if values.shape[-2] == 1 else np.moveaxis(values, -2, 0)
    with np.errstate(over="ignore", invalid="ignore"):
        # in the memory order of the kernels: what is read most is a column, the coefficients at a time
        return values.astype(dtype, copy=False)


def check_finite(*arrays):
    with np.errstate(over="ignore", invalid="ignore"):
        finite = all(np.isfinite(_total(array)) or np.isfinite(array).all() for array in arrays)
    if not finite:
        raise ValueError(
            "X or y must have smaller entries, or kappa must be smaller: the iterates are not finite (numbers beyond "
            "the range of floating point)."
        )


def _total(array):
    """The sum of all entries, which is finite only if they are; several times faster where they lie in order."""
    if array.dtype != np.float64 or not array.flags.c_contiguous or array.size == 0:
        return array.sum()
    vectors = array.reshape(len(array), -1)
    sums = np.zeros((len(vectors), 1), order="F")
    dense_correlate(vectors.T, np.ones((vectors.shape[1], 1), order="F"), sums)
    return sums.sum()


def check_times(times):
    if not np.isfinite(times).all():
        raise ValueError("y must have larger entries: the times, in units of one over those of y, are not finite.")


def check_path_y(y, loss):
    if loss == "squared":
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        return column_or_1d(y)
    y = column_or_1d(y)
    check_classification_targets(y)
    return y


D_ALLOWED = (
    "None, 'fused', 'fused+identity', a sequence of edges (pairs of feature indices), or a matrix or LinearOperator "
    "with n_features columns"
)


def _operator(D, p):
    """The sparse matrix that a user's D means."""
    if D is None:
        return sparse.eye_array(p, format="csr")
    if isinstance(D, str):
        if D not in ("fused", "fused+identity"):
            raise ValueError(f"D must be {D_ALLOWED}; got {D!r}.")
        if p < 2:
            raise ValueError(f"D={D!r} must be combined with two or more features; got n_features={p}.")
        differences = sparse.diags_array([-np.ones(p - 1), np.ones(p - 1)], offsets=[0, 1], shape=(p - 1, p))
        if D == "fused":
            return sparse.csr_array(differences)
        return sparse.csr_array(sparse.vstack([differences, sparse.eye_array(p)]))
    if isinstance(D, LinearOperator):
        _check_width(D.shape, p)
        block = max(1, 10**7 // max(D.shape[0], 1))
        parts = [D.matmat(np.eye(p, min(block, p - j), -j)) for j in range(0, p, block)]
        D = sparse.csr_array(sparse.hstack([sparse.csc_array(part) for part in parts]))
    elif not sparse.issparse(D):
        try:
            D = np.asarray(D)
        except ValueError:
            raise ValueError(f"D must be {D_ALLOWED}; got rows of different lengths.") from None
        if D.dtype.kind in "iu" and D.ndim == 2 and D.shape[1] == 2:
            return _incidence(D, p)
        if D.dtype.kind not in "iufbc" or D.ndim != 2:
            raise ValueError(f"D must be {D_ALLOWED}; got an array of shape {D.shape} and type {D.dtype}.")
    _check_width(D.shape, p)
    if D.dtype.kind == "c":
        raise ValueError(f"D must be real; got type {D.dtype}.")
    # a copy: entries are added up and sorted, and the caller's arrays are left alone
    D = sparse.csr_array(D, dtype=np.float64, copy=True)
    D.sum_duplicates()
    if D.shape[0] == 0:
        raise ValueError(f"D must have one or more rows; got shape {D.shape}.")
    if not np.isfinite(D.data).all():
        raise ValueError("D must be finite; got NaN or infinity.")
    sizes = abs(D).max(axis=1).toarray().ravel()
    empty = np.flatnonzero(sizes == 0.0)
    if len(empty):
        raise ValueError(f"D must not have rows of zeros; rows {empty[:10].tolist()} are.")
    extreme = np.flatnonzero((sizes > 1e140) | (sizes < 1e-140))
    if len(extreme):
        raise ValueError(
            "D must have in every row a largest absolute value between 1e-140 and 1e140, so that squares are finite; "
            f"row {extreme[0]} has {sizes[extreme[0]]:g}."
        )
    return D


def _check_width(shape, p):
    if shape[1] != p:
        raise ValueError(f"D must have as many columns as X, n_features={p}; got shape {tuple(shape)}.")


def _incidence(edges, p):
    """A row ``e_j - e_i`` for each edge (i, j)."""
    if len(edges) == 0:
        raise ValueError("D must have one or more edges; got none.")
    bad = edges[(edges.min(axis=1) < 0) | (edges.max(axis=1) >= p)]
    if len(bad):
        raise ValueError(
            f"D, read as edges, must hold feature indices from 0 to {p - 1}; got {bad[0].tolist()}. (A matrix with two "
            "columns must be of floating point.)"
        )
    loops = edges[edges[:, 0] == edges[:, 1]]
    if len(loops):
        raise ValueError(f"D, read as edges, must connect different features; got {loops[0].tolist()}.")
    rows = np.arange(len(edges))
    ones = np.ones(len(edges))
    data, places = np.concatenate([-ones, ones]), (np.concatenate([rows, rows]), edges.T.ravel())
    return sparse.csr_array((data, places), shape=(len(edges), p))


def _units(groups, n_rows, names):
    """What the proximal map shrinks together."""
    if groups is None:
        return Units(None, n_rows)
    try:
        layout = resolve_groups(groups, None, n_rows, names, "own", "error")
    except ValueError as error:
        text = str(error).replace(
            " unless overlap='latent' (each group then has its own copy of a shared feature, and the copies' "
            "coefficients add up)",
            "",
        )
        raise ValueError(f"{text} (A 'feature' of groups is a row of D; D has {n_rows}.)") from None
    return Units([np.asarray(member) for member in layout.members], n_rows)
