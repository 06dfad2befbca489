"""Every private scikit-learn name that the library uses, in one place."""

from sklearn.base import _fit_context
from sklearn.utils import _safe_indexing
from sklearn.utils._metadata_requests import _routing_enabled
from sklearn.utils._param_validation import HasMethods, Interval, RealNotInt, StrOptions, validate_params
from sklearn.utils.metadata_routing import _raise_for_params
from sklearn.utils.validation import _check_method_params, _check_sample_weight, _get_feature_names

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:
        """No callbacks."""


def callbacks_of(estimator):
    """The callbacks set on an estimator, or handed down to it by a search or a pipeline."""
    return getattr(estimator, "_skl_callbacks", [])


__all__ = [
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "RealNotInt",
    "StrOptions",
    "_check_method_params",
    "_check_sample_weight",
    "_fit_context",
    "_get_feature_names",
    "_raise_for_params",
    "_routing_enabled",
    "_safe_indexing",
    "callbacks_of",
    "validate_params",
]
