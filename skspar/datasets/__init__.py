"""Generators of data whose sparse truth is known."""

from ._regression import make_group_regression

__all__ = ["make_group_regression"]
