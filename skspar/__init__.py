"""Sparse statistics for scikit-learn: estimators whose solutions come with a certificate."""

from . import datasets
from .basis_pursuit import BPDN, BPDNCV, BasisPursuit, bpdn_path
from .group_lasso import GroupLasso, GroupLassoCV, GroupLassoIC, group_lasso_path
from .pursuit import OrthogonalMatchingPursuit, OrthogonalMatchingPursuitCV, SparseEncoder, omp_path

__version__ = "0.1.0.dev0"

__all__ = [
    "BPDN",
    "BPDNCV",
    "BasisPursuit",
    "GroupLasso",
    "GroupLassoCV",
    "GroupLassoIC",
    "OrthogonalMatchingPursuit",
    "OrthogonalMatchingPursuitCV",
    "SparseEncoder",
    "bpdn_path",
    "datasets",
    "group_lasso_path",
    "omp_path",
]
