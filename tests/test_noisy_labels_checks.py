"""scikit-learn's own checks of the detector of noisy labels: no expected failure, in any configuration."""

import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skspar import NoisyLabelDetector

ESTIMATORS = [
    NoisyLabelDetector(),
    NoisyLabelDetector(cut="fsr", level=0.2, penalty="l1", random_state=0),
    NoisyLabelDetector(cut="knockoff", level=0.2, random_state=0),
    NoisyLabelDetector(PCA(1), cut="fraction", standardize=False, class_balanced=True),
    NoisyLabelDetector(cut="threshold", level=0.5, out_of_fold=True, random_state=0),
]


@pytest.mark.filterwarnings("ignore:No label is flagged")
@parametrize_with_checks(ESTIMATORS)
def test_estimator_checks(estimator, check):
    check(estimator)


LEFT_OUT = [
    "check_param_validation",
    "check_dataframe_column_names_consistency",
    "check_inplace_ensure_writeable",
    "check_n_features_in_after_fitting",
    "check_readonly_memmap_input",
    "check_estimator_repr",
    "check_estimator_cloneable",
]


@pytest.mark.filterwarnings("ignore:No label is flagged")
@pytest.mark.parametrize("name", [name for name in LEFT_OUT if hasattr(estimator_checks, name)])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_checks_that_check_estimator_leaves_out(estimator, name):
    pytest.importorskip("pandas")
    getattr(estimator_checks, name)(type(estimator).__name__, clone(estimator))
