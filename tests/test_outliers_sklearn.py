"""SparseOutlierRegressor inside scikit-learn: its checks, composition, data frames."""

import pickle
import warnings

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skspar import SparseOutlierRegressor, SparseOutlierRegressorCV, tau_scorer, trimmed_scorer
from skspar.datasets import make_outlier_regression

ESTIMATORS = [
    SparseOutlierRegressor(),
    SparseOutlierRegressor("l1", alpha=1.345),
    SparseOutlierRegressor("l1", leverage_weights=False, fit_intercept=False),
    SparseOutlierRegressor("scad", alpha="bonferroni", init="huber"),
    SparseOutlierRegressor("mcp", alpha=3.0, init="ols", scale=1.0, refit=True),
    # the checks set alpha to 0.01, so a larger coef_alpha would leave no coefficient
    SparseOutlierRegressor("l1", alpha=2.0, coef_alpha=1e-3),
    SparseOutlierRegressor("hard", alpha="bonferroni", coef_alpha="ebic", refit=True),
    SparseOutlierRegressorCV(coef_alphas=[0.1, 0.0], alpha=3.0, cv=2),
]


@parametrize_with_checks(ESTIMATORS)
def test_estimator_checks(estimator, check):
    check(estimator)


# what check_estimator leaves out and a regressor can be asked; some names differ between releases
LEFT_OUT = [
    "check_dataframe_column_names_consistency",
    "check_inplace_ensure_writeable",
    "check_n_features_in_after_fitting",
    "check_readonly_memmap_input",
    "check_estimator_repr",
    "check_estimator_cloneable",
]


@pytest.mark.parametrize("name", [name for name in LEFT_OUT if hasattr(estimator_checks, name)])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_checks_that_check_estimator_leaves_out(estimator, name):
    pytest.importorskip("pandas")
    getattr(estimator_checks, name)(type(estimator).__name__, clone(estimator))


@pytest.mark.parametrize("estimator", [SparseOutlierRegressor(), SparseOutlierRegressorCV()], ids=str)
def test_default_configuration_declares_its_constraints(estimator):
    estimator_checks.check_param_validation(type(estimator).__name__, estimator)
