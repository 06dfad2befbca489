"""Sparse statistics for scikit-learn: estimators whose solutions come with a certificate."""

from . import datasets
from .basis_pursuit import BPDN, BPDNCV, BasisPursuit, bpdn_path
from .dictionaries import babel_function, hoyer_sparseness, mutual_coherence, restricted_isometry, welch_bound
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
    "babel_function",
    "bpdn_path",
    "datasets",
    "group_lasso_path",
    "hoyer_sparseness",
    "mutual_coherence",
    "omp_path",
    "restricted_isometry",
    "welch_bound",
]
