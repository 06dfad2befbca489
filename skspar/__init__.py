"""Sparse statistics for scikit-learn: estimators whose solutions come with a certificate."""

from . import datasets
from .group_lasso import GroupLasso, GroupLassoCV, GroupLassoIC, group_lasso_path
from .inspection import OutlierPathDisplay
from .outliers import (
    SparseOutlierRegressor,
    SparseOutlierRegressorCV,
    externally_studentized_residuals,
    leverage,
    outlier_path,
)
from .robust_scores import tau_scale, tau_scorer, trimmed_mean_squared_error, trimmed_scorer

__version__ = "0.1.0.dev0"

__all__ = [
    "GroupLasso",
    "GroupLassoCV",
    "GroupLassoIC",
    "OutlierPathDisplay",
    "SparseOutlierRegressor",
    "SparseOutlierRegressorCV",
    "datasets",
    "externally_studentized_residuals",
    "group_lasso_path",
    "leverage",
    "outlier_path",
    "tau_scale",
    "tau_scorer",
    "trimmed_mean_squared_error",
    "trimmed_scorer",
]
