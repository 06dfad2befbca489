"""What the linear models share: checks of input, prediction, grids of alphas, warnings."""

import warnings
from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn import get_config
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import assert_all_finite, check_array, check_consistent_length
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted, validate_data

from ._engine._blas import product
from ._weights import check_weights

# Magnitude beyond which features, and below one over which, are refused; and of correlations that make look at them.
LARGEST, SUSPECT = 1e120, 1e60


class LinearModel(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """A regression with ``coef_`` and ``intercept_``, on dense or sparse data."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _validated(self, X, y, sample_weight, finite=True):
        """X, y and weights as float arrays; X sparse by columns if it is sparse, and perhaps not checked for NaN."""
        X, y = validate_data(
            self, X, y, accept_sparse="csc", dtype=[np.float64, np.float32], multi_output=True, y_numeric=True,
            ensure_all_finite=False,
        )  # fmt: skip
        if finite:
            check_numbers(X, type(self).__name__)
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


def check_numbers(X, estimator_name=None, correlations=None):
    """Refuse NaN and infinities in X, as scikit-learn does, and numbers beyond the range of products."""
    check_range(X, check_finite(X, estimator_name, correlations))


def check_finite(X, estimator_name=None, correlations=None):
    """Refuse NaN and infinities in X; return what told of it, if not X itself.

    Its sum over all entries takes as long as three products with X on two BLAS threads. A product of all rows, none
    times zero, and all columns tells as much, as it is finite exactly if all entries are, but for overflow:
    ``correlations``, if they are formed anyway, or else the means of the columns.
    """
    if told_by_products(X):
        if correlations is None:
            correlations = product(X.T, np.full(len(X), 1.0 / len(X)))
        if np.isfinite(correlations).all():
            return correlations
    assert_all_finite(X, estimator_name=estimator_name, input_name="X")
    return None


def check_range(X, correlations=None):
    """Refuse features whose products, summed, may leave the range of floating point; correlations may spare a look."""
    if X.dtype == np.float32 or 0 in X.shape:
        return
    if correlations is not None:
        sizes = np.abs(correlations)
        if not (np.any(sizes > SUSPECT) or np.any((sizes > 0.0) & (sizes < 1.0 / SUSPECT))):
            return
    if sparse.issparse(X):
        # X's own maxima would sort its indices in place
        columns = X.indices if X.format == "csr" else np.repeat(np.arange(X.shape[1]), np.diff(X.indptr))
        largest = np.zeros(X.shape[1])
        np.maximum.at(largest, columns, np.abs(X.data))
    else:
        largest = np.maximum(X.max(axis=0), -X.min(axis=0))
    wrong = largest[(largest > LARGEST) | ((largest > 0.0) & (largest < 1.0 / LARGEST))]
    if len(wrong):
        raise ValueError(
            "X must have the largest absolute value of each feature between 1e-120 and 1e120, so that products are "
            f"finite; one is {wrong[0]:g}."
        )


def told_by_products(X):
    """Whether BLAS multiplies X as it is, and it matters whether its entries are finite."""
    by_blas = isinstance(X, np.ndarray) and X.dtype == np.float64 and (X.flags.f_contiguous or X.flags.c_contiguous)
    return by_blas and not get_config()["assume_finite"]


def check_one_target(X, y, accept_sparse=False):
    """X and a single target as arrays of floats."""
    X = check_array(X, accept_sparse=accept_sparse, dtype=[np.float64, np.float32], input_name="X")
    y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
    check_consistent_length(X, y)
    if y.ndim != 1:
        raise ValueError(f"y must be 1-d, one target; got shape {y.shape}.")
    return X, y


def as_matrix(y):
    """y as a float64 matrix with a column for each target."""
    return np.asarray(y, dtype=np.float64).reshape(len(y), -1)


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
        f"{missed} of {total} fits did not reach tol={tol:g}: the largest duality gap is {gap:.3g}, "
        f"{relative:.3g} times the null objective. {advice}",
        ConvergenceWarning,
        stacklevel=4,
    )
