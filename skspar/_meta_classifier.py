"""What the meta-estimators around a classifier share: prediction, tags, and the methods that the inner one has."""

import numpy as np
from sklearn.base import ClassifierMixin, MetaEstimatorMixin
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import get_routing_for_object, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from ._sklearn_compat import _raise_for_params, _routing_enabled

PREDICTION_METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")


def _inner_has(method):
    """Whether the inner classifier has a method: the fitted one, or before fitting the one that was passed."""

    def check(self):
        getattr(getattr(self, "estimator_", self.estimator), method)
        return True

    return check


class MetaClassifierMixin(MetaEstimatorMixin, ClassifierMixin):
    """Predictions of ``estimator_``, with a column for each of ``classes_``."""

    @available_if(_inner_has("predict"))
    def predict(self, X, **params):
        """Predict classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.
        **params : dict
            Passed to the inner estimator's method, if metadata routing is enabled.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predicted labels.
        """
        return self._inner("predict", X, params)

    @available_if(_inner_has("predict_proba"))
    def predict_proba(self, X, **params):
        """Predict the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.
        **params : dict
            Passed to the inner estimator's method, if metadata routing is enabled.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            A column for each of ``classes_``; zero for a class that the inner estimator never saw.
        """
        return self._aligned(self._inner("predict_proba", X, params), 0.0)

    @available_if(_inner_has("predict_log_proba"))
    def predict_log_proba(self, X, **params):
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.
        **params : dict
            Passed to the inner estimator's method, if metadata routing is enabled.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            A column for each of ``classes_``; minus infinity for a class that the inner estimator never saw.
        """
        return self._aligned(self._inner("predict_log_proba", X, params), -np.inf)

    @available_if(_inner_has("decision_function"))
    def decision_function(self, X, **params):
        """Compute the decision function of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.
        **params : dict
            Passed to the inner estimator's method, if metadata routing is enabled.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            What the inner estimator returns; minus infinity for a class that it never saw. If it saw two of three or
            more classes, its decision and the negative of it.
        """
        decision = self._inner("decision_function", X, params)
        missing = len(self.classes_) > len(self.estimator_.classes_)
        if missing and decision.ndim == 1:
            decision = np.column_stack([-decision, decision])
        if missing and decision.shape[1] != len(self.estimator_.classes_):
            raise ValueError(
                f"The decision function of {type(self.estimator_).__name__} has {decision.shape[1]} columns for "
                f"{len(self.estimator_.classes_)} classes, so that none can be added for the classes it never saw; "
                "choose one with a column for each class, such as decision_function_shape='ovr'."
            )
        return self._aligned(decision, -np.inf)

    def _inner(self, method, X, params):
        check_is_fitted(self)
        _raise_for_params(params, self, method)
        routed = process_routing(self, method, **params).estimator[method] if _routing_enabled() else {}
        return getattr(self.estimator_, method)(X, **routed)

    def _aligned(self, values, absent):
        """Columns in the order of classes_, `absent` for classes that the inner estimator never saw."""
        seen = self.estimator_.classes_
        if len(seen) == len(self.classes_):
            return values
        out = np.full((len(values), len(self.classes_)), absent, dtype=values.dtype)
        out[:, np.searchsorted(self.classes_, seen)] = values
        return out

    def _tags_with(self, inner, others=()):
        """Own tags with those of the inner estimator, and the kinds of input that all of the parts take."""
        tags = super().__sklearn_tags__()
        found = get_tags(inner)
        tags.classifier_tags = found.classifier_tags if found.classifier_tags is not None else tags.classifier_tags
        tags.classifier_tags.multi_label = False
        tags.target_tags.single_output = True
        tags.target_tags.multi_output = False
        tags.non_deterministic = found.non_deterministic
        tags.input_tags = found.input_tags
        for other in others:
            theirs = get_tags(other)
            for kind in ("sparse", "allow_nan", "string", "categorical"):
                both = getattr(tags.input_tags, kind) and getattr(theirs.input_tags, kind)
                setattr(tags.input_tags, kind, both)
            tags.non_deterministic |= theirs.non_deterministic
            tags.input_tags.positive_only |= theirs.input_tags.positive_only
        return tags


def weight_name(estimator, advice="fit without weights, or choose another estimator"):
    """Name of the fit parameter that takes sample weights."""
    if _routing_enabled() and hasattr(estimator, "get_metadata_routing"):
        takes_directly = has_fit_parameter(estimator, "sample_weight")
        if takes_directly or "sample_weight" in get_routing_for_object(estimator).consumes("fit", ["sample_weight"]):
            return "sample_weight"
    elif isinstance(estimator, Pipeline):
        last = estimator[-1]
        if hasattr(last, "fit"):
            return f"{estimator.steps[-1][0]}__{weight_name(last, advice)}"
    elif has_fit_parameter(estimator, "sample_weight"):
        return "sample_weight"
    hint = " Request it: set_fit_request(sample_weight=True) of a step." if _routing_enabled() else ""
    raise ValueError(f"{type(estimator).__name__} takes no sample_weight in fit; {advice}.{hint}")
