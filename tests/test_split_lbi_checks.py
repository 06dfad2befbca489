"""scikit-learn's own checks of the Split-LBI estimators: no expected failure, in any configuration."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skspar import SplitLBI, SplitLBIClassifier, SplitLBICV

# short paths: the checks fit hundreds of times
SHORT = {"kappa": 5.0, "n_times": 20, "t_ratio": 20.0}

ESTIMATORS = [
    SplitLBI(),
    SplitLBI(None, **SHORT),
    SplitLBI(2.0, groups=2, estimate="dense", start="first_entry", **SHORT),
    SplitLBI(None, groups=2, fit_intercept=False, kappa_units="raw", **{**SHORT, "kappa": 2.0}),
    SplitLBIClassifier(**SHORT),
    SplitLBIClassifier(None, groups=1, **SHORT),
    SplitLBIClassifier(2.0, estimate="dense", fit_intercept=False, start="first_entry", **SHORT),
    SplitLBICV(**SHORT, cv=3),
    SplitLBICV(None, loss="logistic", selection_rule="1se", cv=3, **SHORT),
]


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


@pytest.mark.parametrize("name", [name for name in LEFT_OUT if hasattr(estimator_checks, name)])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_checks_that_check_estimator_leaves_out(estimator, name):
    pytest.importorskip("pandas")
    getattr(estimator_checks, name)(type(estimator).__name__, clone(estimator))


# the checks cannot know that D has a row for each pair of neighbours
@pytest.mark.parametrize(
    "D", ["fused", "fused+identity", [(0, 1), (2, 0)], sparse.csr_array(np.arange(28).reshape(7, 4) % 5 - 1.0)]
)
@pytest.mark.parametrize(
    "est",
    [SplitLBI(**SHORT), SplitLBIClassifier(**SHORT), SplitLBICV(cv=3, **SHORT)],
    ids=lambda est: type(est).__name__,
)
def test_operators_in_every_estimator(est, D, rng):
    X = rng.normal(size=(60, 4))
    score = X @ [2.0, 2.0, 0.0, 0.0] + 0.1 * rng.normal(size=60)
    y = score > 0 if isinstance(est, SplitLBIClassifier) else score
    model = clone(est).set_params(D=D).fit(X, y)
    n_rows = {"fused": 3, "fused+identity": 7}.get(D) if isinstance(D, str) else (2 if isinstance(D, list) else 7)
    assert model.first_entry_.shape == (n_rows,)
    assert model.score(X, y) > 0.8
    np.testing.assert_array_equal(clone(model).fit(X, y).coef_, model.coef_)
