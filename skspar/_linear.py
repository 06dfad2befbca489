"""What the linear models share: checks of input, prediction, cross-validation, grids of alphas, warnings."""

import warnings
from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import check_cv
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import check_is_fitted, validate_data

from ._sklearn_compat import _check_sample_weight, _routing_enabled


class LinearModel(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """A regression with ``coef_`` and ``intercept_``, on dense or sparse data."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _validated(self, X, y, sample_weight):
        """X, y and weights as float arrays; X sparse by columns if it is sparse."""
        X, y = validate_data(
            self, X, y, accept_sparse="csc", dtype=[np.float64, np.float32], multi_output=True, y_numeric=True
        )
        return X, y, check_weights(sample_weight, X)

    def _set_linear(self, coef, intercept, X, y):
        """Set ``coef_`` and ``intercept_`` from (p, T) and (T,), in the types and shapes that X and y ask for."""
        coef, intercept = coef.T.astype(X.dtype), np.asarray(intercept, dtype=X.dtype)
        self.coef_ = coef[0] if y.ndim == 1 else np.ascontiguousarray(coef)
        if y.ndim == 1:
            self.intercept_ = intercept[0] if self.fit_intercept else 0.0
        else:
            self.intercept_ = intercept

    def predict(self, X):
        """Predict with the linear model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Predicted values, ``X @ coef_.T + intercept_``.
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc", "coo"], dtype=[np.float64, np.float32], reset=False)
        return safe_sparse_dot(X, self.coef_.T, dense_output=True) + self.intercept_


class CrossValidationMixin:
    """For models whose ``cv`` splits the rows; fit parameters are passed on to the splitter."""

    def _splitter(self, sample_weight, params):
        """The splitter, and the part of fit's parameters that it takes."""
        # first: routing would use up a generator
        cv = check_cv(self.cv)
        return cv, self._split_params(sample_weight, params)

    def _split_params(self, sample_weight, params):
        if _routing_enabled():
            return process_routing(self, "fit", sample_weight=sample_weight, **params).splitter.split
        unknown = sorted(set(params) - {"groups"})
        if unknown:
            raise ValueError(
                f"{type(self).__name__}.fit takes no parameters {unknown} unless metadata routing is enabled "
                "(sklearn.set_config(enable_metadata_routing=True)); only 'groups' is passed on to the splitter."
            )
        return params

    def _splits(self, splitter, X, y, weights):
        """Row indices (training, held-out) of every fold."""
        cv, params = splitter
        splits = [(np.asarray(train), np.asarray(test)) for train, test in cv.split(X, y, **params)]
        if not splits:
            raise ValueError(f"cv must give at least one fold; got none from {self.cv!r}.")
        splits = [tuple(np.flatnonzero(part) if part.dtype == bool else part for part in pair) for pair in splits]
        for k, pair in enumerate(splits):
            for part, rows in zip(("training", "held-out"), pair):
                if weights[rows].sum() <= 0.0:
                    raise ValueError(f"sample_weight must not vanish on all {part} rows of a fold; fold {k} has none.")
        if self.selection_rule == "1se" and len(splits) < 2:
            raise ValueError(
                f"selection_rule='1se' must have two or more folds for a standard error; got {len(splits)}."
            )
        return splits

    def _choose(self, errors):
        """Place of the chosen model; ``errors`` (n_models, n_folds), the simplest model first."""
        mean = errors.mean(axis=1)
        place = int(mean.argmin())
        if self.selection_rule == "1se":
            margin = errors[place].std(ddof=1) / np.sqrt(errors.shape[1])
            place = int(np.flatnonzero(mean <= mean[place] + margin)[0])
        return place

    def get_metadata_routing(self):
        """Say where fit parameters go.

        Returns
        -------
        routing : MetadataRouter
            Sample weights are for this estimator, other parameters for the splitter.
        """
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(splitter=check_cv(self.cv), method_mapping=MethodMapping().add(caller="fit", callee="split"))
        )


def as_matrix(y):
    """y as a float64 matrix with a column for each target."""
    return np.asarray(y, dtype=np.float64).reshape(len(y), -1)


def check_weights(sample_weight, X):
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not weights.any():
        raise ValueError("sample_weight must have a positive entry; all are zero.")
    return weights


def alpha_grid(alphas, eps, alpha_max, positive, name="alphas"):
    """The decreasing grid of alphas that a user's parameter means."""
    if isinstance(alphas, Integral):
        if alpha_max <= 0.0:
            # nothing to select: no penalised feature correlates with the response
            return np.full(alphas, np.finfo(np.float64).resolution)
        if alphas == 1:
            return np.array([alpha_max])
        grid = alpha_max * np.geomspace(1.0, eps, alphas)
        grid[0] = alpha_max
        return grid
    try:
        grid = np.sort(np.asarray(alphas, dtype=np.float64))[::-1].copy()
    except (TypeError, ValueError):
        grid = np.empty(0)
    if grid.ndim != 1 or len(grid) == 0 or not np.all(np.isfinite(grid)) or grid[-1] < 0.0:
        given = alphas[0] if name == "alpha" else alphas
        what = "a finite number >= 0" if name == "alpha" else "an integer >= 1 or a 1-d array of finite numbers >= 0"
        raise ValueError(f"'{name}' parameter must be {what}; got {given!r}.")
    if positive and grid[-1] == 0.0:
        raise ValueError(
            f"positive=True must be combined with {name} > 0; got 0 (scipy.optimize.nnls solves that problem)."
        )
    return grid


def warn_unless_converged(solutions, null_objective, tol, max_iter):
    """One warning for a whole fit."""
    missed = sum(int((~s.converged).sum()) for s in solutions)
    if missed == 0:
        return
    total = sum(len(s.converged) for s in solutions)
    gap = max(float(s.gaps[~s.converged].max(initial=0.0)) for s in solutions)
    relative = gap / null_objective if null_objective > 0.0 else 0.0
    if any(np.any(s.n_iters[~s.converged] >= max_iter) for s in solutions):
        advice = f"Increase max_iter (now {max_iter}) or tol, or avoid very small alphas."
    else:
        advice = (
            "Rounding of the numbers lets it fall no further: more iterations will not help. Increase tol; centre the "
            "columns (fit_intercept=True) if their means are far from zero; look for nearly collinear columns."
        )
    warnings.warn(
        f"{missed} of {total} fits did not reach tol={tol:g}: the largest duality gap is {gap:.3g}, relative to the "
        f"null objective {relative:.3g}. {advice}",
        ConvergenceWarning,
        stacklevel=4,
    )
