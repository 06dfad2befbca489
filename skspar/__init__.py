"""Sparse statistics for scikit-learn: estimators whose solutions come with a certificate."""

from . import datasets
from .group_lasso import GroupLasso, GroupLassoCV, GroupLassoIC, group_lasso_path
from .preconditioned import (
    PreconditionedLasso,
    irrepresentability,
    preconditioned_lasso_path,
    preconditioner,
    signed_support_bounds,
)
from .ranking import RobustPairwiseRanker, kendall_tau_scorer, pairwise_accuracy_scorer, pairwise_outlier_path

__version__ = "0.1.0.dev0"

__all__ = [
    "GroupLasso",
    "GroupLassoCV",
    "GroupLassoIC",
    "PreconditionedLasso",
    "RobustPairwiseRanker",
    "datasets",
    "group_lasso_path",
    "irrepresentability",
    "kendall_tau_scorer",
    "pairwise_accuracy_scorer",
    "pairwise_outlier_path",
    "preconditioned_lasso_path",
    "preconditioner",
    "signed_support_bounds",
]
