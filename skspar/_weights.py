"""Sample weights as every estimator takes them."""

import numpy as np

from ._sklearn_compat import _check_sample_weight


def check_weights(sample_weight, X):
    """Weights as a float64 array, ones for None; not negative, not all zero."""
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not weights.any():
        raise ValueError("sample_weight must have a positive entry; all are zero.")
    return weights
