"""Generators of data whose sparse truth is known."""

from ._comparisons import make_pairwise_comparisons
from ._regression import make_group_regression

__all__ = ["make_group_regression", "make_pairwise_comparisons"]
