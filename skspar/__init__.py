"""Sparse statistics for scikit-learn: estimators whose solutions come with a certificate."""

from . import datasets
from .group_lasso import GroupLasso, GroupLassoCV, GroupLassoIC, group_lasso_path
from .inspection import RegularizationPathDisplay
from .split_lbi import SplitLBI, SplitLBIClassifier, SplitLBICV, inverse_scale_space_path, split_lbi_path

__version__ = "0.1.0.dev0"

__all__ = [
    "GroupLasso",
    "GroupLassoCV",
    "GroupLassoIC",
    "RegularizationPathDisplay",
    "SplitLBI",
    "SplitLBICV",
    "SplitLBIClassifier",
    "datasets",
    "group_lasso_path",
    "inverse_scale_space_path",
    "split_lbi_path",
]
