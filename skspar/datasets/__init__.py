"""Generators of data whose sparse truth is known."""

from ._comparisons import make_pairwise_comparisons
from ._label_noise import make_label_noise
from ._outliers import make_masking_outliers, make_outlier_regression
from ._regression import make_group_regression

__all__ = [
    "make_group_regression",
    "make_label_noise",
    "make_masking_outliers",
    "make_outlier_regression",
    "make_pairwise_comparisons",
]
