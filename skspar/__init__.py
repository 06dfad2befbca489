"""Sparse statistics for scikit-learn: estimators whose solutions come with a certificate."""

from . import datasets
from .basis_pursuit import BPDN, BPDNCV, BasisPursuit, bpdn_path
from .clean_labels import CleanLabelClassifier, trusted_label_scorer
from .column_groups import ColumnGroups
from .deletion_diagnostics import externally_studentized_residuals, leverage
from .dictionaries import babel_function, hoyer_sparseness, mutual_coherence, restricted_isometry, welch_bound
from .group_lasso import GroupLasso, GroupLassoCV, GroupLassoIC, group_lasso_path
from .inspection import CVPathDisplay, OutlierPathDisplay, RegularizationPathDisplay
from .instance_credibility import InstanceCredibilityClassifier
from .noisy_labels import NoisyLabelDetector, label_noise_path
from .outliers import SparseOutlierRegressor, SparseOutlierRegressorCV, outlier_path
from .preconditioned import (
    PreconditionedLasso,
    irrepresentability,
    preconditioned_lasso_path,
    preconditioner,
    signed_support_bounds,
)
from .pursuit import OrthogonalMatchingPursuit, OrthogonalMatchingPursuitCV, SparseEncoder, omp_path
from .ranking import RobustPairwiseRanker, kendall_tau_scorer, pairwise_accuracy_scorer, pairwise_outlier_path
from .robust_scores import tau_scale, tau_scorer, trimmed_mean_squared_error, trimmed_scorer
from .split_lbi import SplitLBI, SplitLBIClassifier, SplitLBICV, inverse_scale_space_path, split_lbi_path

__version__ = "0.1.0.dev0"

__all__ = [
    "BPDN",
    "BPDNCV",
    "BasisPursuit",
    "CVPathDisplay",
    "CleanLabelClassifier",
    "ColumnGroups",
    "GroupLasso",
    "GroupLassoCV",
    "GroupLassoIC",
    "InstanceCredibilityClassifier",
    "NoisyLabelDetector",
    "OrthogonalMatchingPursuit",
    "OrthogonalMatchingPursuitCV",
    "OutlierPathDisplay",
    "PreconditionedLasso",
    "RegularizationPathDisplay",
    "RobustPairwiseRanker",
    "SparseEncoder",
    "SparseOutlierRegressor",
    "SparseOutlierRegressorCV",
    "SplitLBI",
    "SplitLBICV",
    "SplitLBIClassifier",
    "babel_function",
    "bpdn_path",
    "datasets",
    "externally_studentized_residuals",
    "group_lasso_path",
    "hoyer_sparseness",
    "inverse_scale_space_path",
    "irrepresentability",
    "kendall_tau_scorer",
    "label_noise_path",
    "leverage",
    "mutual_coherence",
    "omp_path",
    "outlier_path",
    "pairwise_accuracy_scorer",
    "pairwise_outlier_path",
    "preconditioned_lasso_path",
    "preconditioner",
    "restricted_isometry",
    "signed_support_bounds",
    "split_lbi_path",
    "tau_scale",
    "tau_scorer",
    "trimmed_mean_squared_error",
    "trimmed_scorer",
    "trusted_label_scorer",
    "welch_bound",
]
