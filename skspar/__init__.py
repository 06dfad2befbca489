"""Sparse statistics for scikit-learn: estimators whose solutions come with a certificate."""

from . import datasets
from .group_lasso import GroupLasso, GroupLassoCV, GroupLassoIC, group_lasso_path
from .ranking import RobustPairwiseRanker, kendall_tau_scorer, pairwise_accuracy_scorer, pairwise_outlier_path

__version__ = "0.1.0.dev0"

__all__ = [
    "GroupLasso",
    "GroupLassoCV",
    "GroupLassoIC",
    "RobustPairwiseRanker",
    "datasets",
    "group_lasso_path",
    "kendall_tau_scorer",
    "pairwise_accuracy_scorer",
    "pairwise_outlier_path",
]
