"""Classifiers trained without wrong labels, and scores that wrong labels decide less."""

import warnings
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import get_scorer
from sklearn.pipeline import Pipeline
from sklearn.utils import indexable
from sklearn.utils.metadata_routing import (
    UNUSED,
    MetadataRouter,
    MethodMapping,
    get_routing_for_object,
    process_routing,
)
from sklearn.utils.validation import check_is_fitted, column_or_1d, has_fit_parameter, validate_data

from ._label_fit import encoded
from ._meta_classifier import PREDICTION_METHODS, MetaClassifierMixin, weight_name
from ._sklearn_compat import (
    HasMethods,
    StrOptions,
    _check_method_params,
    _fit_context,
    _raise_for_params,
    _routing_enabled,
    _safe_indexing,
)
from ._weights import check_weights
from .noisy_labels import NoisyLabelDetector

WEIGHT_ADVICE = "handle='weight' needs it, choose handle='drop' or 'relabel', or another estimator"


class CleanLabelClassifier(MetaClassifierMixin, BaseEstimator):
    """Train a classifier without the labels that a detector finds wrong.

    A clone of `detector` is fitted on the training rows and says which labels are issues, how far each label is to be
    trusted, and what it should be. Then a clone of `estimator` is fitted:

    - ``handle="drop"``: on the rows that are not flagged;
    - ``handle="weight"``: on all rows, each weighted by its label quality (times ``sample_weight``);
    - ``handle="relabel"``: on all rows, the flagged ones with the label that the detector suggests.

    This happens in ``fit`` only: cross-validation and grid search clean each training part by itself and leave
    held-out rows alone, and ``detector__level`` can be searched like any parameter if a detector is passed.

    **Held-out labels are still noisy**, so a score is too low, and differences between models shrink: with a share e of
    symmetric wrong labels among C classes an accuracy a is measured as ``a (1 - e) + (1 - a) e / (C - 1)``. The order
    of models survives such noise on average, but not noise that depends on the features. `trusted_label_scorer` scores
    on trusted rows only.

    Parameters
    ----------
    estimator : classifier
        Is cloned and fitted on the cleaned rows. May be a pipeline.
    detector : estimator, default=None
        Is cloned and fitted on all rows. It must have ``fit(X, y)``, and then ``label_issues_mask_`` for "drop" and
        "relabel", ``label_quality_`` in [0, 1] for "weight", and ``suggested_labels_`` for "relabel". None means
        ``NoisyLabelDetector(cut="threshold", level=0.5)``: labels are issues if they are more likely wrong than right.
    handle : {'drop', 'weight', 'relabel'}, default='drop'
        What is done with labels that may be wrong. "weight" does not read the detector's cut.

    Attributes
    ----------
    estimator_ : classifier
        The fitted clone of the classifier.
    detector_ : estimator
        The fitted clone of the detector; its ``label_issues_mask_`` says which training rows were flagged.
    classes_ : ndarray of shape (n_classes,)
        Every class of y, also one of which no row is left after cleaning: its probability is zero, its decision
        function minus infinity.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features, if X has names that are all strings.

    Raises
    ------
    ValueError
        If ``handle="weight"`` meets an estimator that takes no sample weight, or the detector's results do not fit the
        rows.

    Warns
    -----
    UserWarning
        If cleaning would leave fewer than two classes; then the classifier is fitted on all rows, as given.

    See Also
    --------
    NoisyLabelDetector : The detector; its own default cut is made for people who look at what is flagged.
    trusted_label_scorer : Scores on rows whose labels are trusted.

    Notes
    -----
    ``sample_weight`` reaches the estimator, and the detector if its ``fit`` takes one. With metadata routing enabled
    both get what they request. "weight" passes weights whether or not the estimator requests them; a router inside,
    such as a pipeline, passes them on only to steps that do. Without routing, the weights of a pipeline go to its
    last step.

    References
    ----------
    .. [1] Northcutt, Jiang & Chuang (2021), "Confident learning: estimating uncertainty in dataset labels", Journal of
       Artificial Intelligence Research 70, 1373-1411: training on the rest.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skspar import CleanLabelClassifier
    >>> from skspar.datasets import make_label_noise
    >>> X, y = load_wine(return_X_y=True)
    >>> y_noisy, is_wrong = make_label_noise(y, rate=0.2, random_state=0)
    >>> inner = make_pipeline(StandardScaler(), LogisticRegression())
    >>> cleaned = CleanLabelClassifier(inner).fit(X, y_noisy)
    >>> bool(cleaned.score(X, y) > inner.fit(X, y_noisy).score(X, y))
    True
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"])],
        "detector": [HasMethods(["fit"]), None],
        "handle": [StrOptions({"drop", "weight", "relabel"})],
    }
    # sample_weight goes to the detector and the estimator, which request it
    __metadata_request__fit = {"sample_weight": UNUSED}

    def __init__(self, estimator, *, detector=None, handle="drop"):
        self.estimator = estimator
        self.detector = detector
        self.handle = handle

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, **fit_params):
        """Find labels that may be wrong, and fit the classifier without them.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows; passed on as they are.
        y : array-like of shape (n_samples,)
            Labels, some of which may be wrong.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights s_i >= 0.
        **fit_params : dict
            Passed to the ``fit`` of the estimator and of the detector as they request it, if metadata routing is
            enabled.

        Returns
        -------
        self : CleanLabelClassifier
            The fitted classifier.
        """
        _raise_for_params(fit_params, self, "fit")
        X, y = indexable(X, y)
        validate_data(self, X, y, skip_check_array=True)
        labels = column_or_1d(y, warn=True)
        weights = None if sample_weight is None else check_weights(sample_weight, X)
        estimator = clone(self.estimator)
        detector = clone(self._detector())
        for_estimator, for_detector = self._routed(estimator, detector, weights, fit_params)
        name = weight_name(estimator, WEIGHT_ADVICE) if self.handle == "weight" else None
        self.classes_, _ = encoded(labels)
        detector.fit(X, labels, **for_detector)
        self.detector_ = detector
        X, labels, for_estimator = self._cleaned(X, labels, weights, for_estimator, name)
        self.estimator_ = estimator.fit(X, labels, **for_estimator)
        return self

    def set_params(self, **params):
        """Set parameters, of the parts too, as ``detector__level``.

        Parameters
        ----------
        **params : dict
            Parameters and their values.

        Returns
        -------
        self : CleanLabelClassifier
            The estimator.

        Raises
        ------
        ValueError
            If a parameter is unknown, or one of the detector's and `detector` is None.
        """
        inner = sorted(name for name in params if name.startswith("detector__"))
        if inner and params.get("detector", self.detector) is None:
            raise ValueError(
                f"detector must be given for {inner[0]} to be set or searched, such as "
                'detector=NoisyLabelDetector(cut="threshold"); it is None.'
            )
        return super().set_params(**params)

    def _detector(self):
        return NoisyLabelDetector(cut="threshold", level=0.5) if self.detector is None else self.detector

    def _routed(self, estimator, detector, weights, fit_params):
        """Metadata for the two fits."""
        given = {} if weights is None else {"sample_weight": weights}
        if _routing_enabled():
            routed = process_routing(self, "fit", **given, **fit_params)
            return dict(routed.estimator.fit), dict(routed.detector.fit)
        if weights is None:
            return {}, {}
        for_detector = given if has_fit_parameter(detector, "sample_weight") else {}
        return {weight_name(estimator): weights}, for_detector

    def _cleaned(self, X, labels, weights, for_estimator, name):
        """Rows, labels and metadata for the estimator's fit."""
        n = len(labels)
        if self.handle == "weight":
            quality = _detected(self.detector_, "label_quality_", n).astype(np.float64)
            if not (np.all(quality >= 0.0) and np.all(quality <= 1.0)):
                raise ValueError(
                    f"label_quality_ of the detector must lie in [0, 1], got values from {quality.min():g} to "
                    f"{quality.max():g}."
                )
            total = quality * for_estimator.get(name, 1.0)
            if not self._leaves_classes(labels[total > 0.0]):
                return X, labels, for_estimator
            kept = np.flatnonzero(total > 0.0)
            weighted = {**for_estimator, name: total}
            if len(np.setdiff1d(labels, labels[kept])) == 0:
                return X, labels, weighted
            # a class without weight is no class to the estimator
            return _safe_indexing(X, kept), labels[kept], _check_method_params(X, weighted, kept)
        flagged = _detected(self.detector_, "label_issues_mask_", n)
        if flagged.dtype != bool:
            raise ValueError(f"label_issues_mask_ of the detector must be boolean, got {flagged.dtype}.")
        positive = np.ones(n, dtype=bool) if weights is None else weights > 0.0
        if self.handle == "relabel":
            suggested = _detected(self.detector_, "suggested_labels_", n)[flagged]
            unknown = np.setdiff1d(suggested, self.classes_)
            if len(unknown):
                raise ValueError(
                    f"suggested_labels_ of the detector must be labels of y, got also {unknown[:5].tolist()}."
                )
            changed = labels.copy()
            changed[flagged] = suggested
            return X, changed if self._leaves_classes(changed[positive]) else labels, for_estimator
        kept = np.flatnonzero(~flagged)
        if len(kept) == n or not self._leaves_classes(labels[~flagged & positive]):
            return X, labels, for_estimator
        return _safe_indexing(X, kept), labels[kept], _check_method_params(X, for_estimator, kept)

    def _leaves_classes(self, labels):
        """Whether cleaning leaves something to learn; warns if not."""
        left = np.unique(labels)
        if len(left) >= min(2, len(self.classes_)):
            return True
        warnings.warn(
            f"Cleaning with handle={self.handle!r} would leave {len(left)} of {len(self.classes_)} classes: "
            f"{left.tolist()}. The classifier is fitted on all rows, as given, instead. Let the detector "
            f"({type(self.detector_).__name__}) flag fewer rows, or choose another handle.",
            UserWarning,
            stacklevel=5,
        )
        return False

    def get_metadata_routing(self):
        """Say which metadata the estimator, the detector and ``score`` request.

        Returns
        -------
        routing : MetadataRouter
            Routing of scikit-learn's metadata.
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        for method in PREDICTION_METHODS:
            mapping.add(caller=method, callee=method)
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(estimator=self.estimator, method_mapping=mapping)
            .add(detector=self._detector(), method_mapping=MethodMapping().add(caller="fit", callee="fit"))
        )

    def __sklearn_tags__(self):
        return self._tags_with(self.estimator, [self._detector()])


def trusted_label_scorer(scoring="accuracy", *, detector=None, min_quality=0.5):
    """Make a scorer that looks only at held-out rows whose labels are trusted.

    Held-out labels are as noisy as the training labels. The scorer asks a detector for the quality of each held-out
    label and applies `scoring` to the rows with at least `min_quality`. Pass it as ``scoring`` to
    `sklearn.model_selection.GridSearchCV` and its relatives.

    Who judges the held-out labels:

    - ``detector=None``: the detector that the scored `CleanLabelClassifier` was trained with, by its ``score_labels``.
      It has seen the training rows only. Every candidate of a search is scored on its own choice of rows, so do not
      tune the detector's parameters that way: a detector that trusts only easy rows would win.
    - a fitted detector, by its ``score_labels``: fit it once on all rows. All candidates are scored on the same rows,
      and any classifier can be scored. It has seen the held-out rows, but the models have not.

    **What the score is biased by**: rows that are hard but right are trusted less, which makes it too high, most for
    classifiers that err where the detector does; wrong labels that agree with the features stay in, which makes it too
    low. Use it to compare models, not to state an accuracy; for that, have labels checked.

    Parameters
    ----------
    scoring : str or callable, default='accuracy'
        Name of a scorer of scikit-learn, or a callable ``scorer(estimator, X, y)``.
    detector : fitted estimator, default=None
        Who judges; see above. `NoisyLabelDetector`, or any with ``score_labels(X, y)``.
    min_quality : float, default=0.5
        Least label quality of rows that count, in [0, 1].

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y, **params)``; parameters with an entry for each row, such as ``sample_weight``, are
        cut to the trusted rows. Raises ValueError if no row is trusted.

    Raises
    ------
    ValueError
        If `scoring` is not known, `detector` is not fitted, or `min_quality` is out of its range.

    See Also
    --------
    CleanLabelClassifier : Trains on trusted rows.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.preprocessing import scale
    >>> from skspar import CleanLabelClassifier, NoisyLabelDetector, trusted_label_scorer
    >>> from skspar.datasets import make_label_noise
    >>> X, y = load_wine(return_X_y=True)
    >>> X = scale(X)
    >>> y_noisy, _ = make_label_noise(y, rate=0.2, random_state=0)
    >>> detector = NoisyLabelDetector(cut="threshold")
    >>> model = CleanLabelClassifier(LogisticRegression(), detector=detector)
    >>> scorer = trusted_label_scorer(detector=detector.fit(X, y_noisy))
    >>> levels = {"detector__level": [0.2, 0.5]}
    >>> search = GridSearchCV(model, levels, scoring=scorer, cv=3).fit(X, y_noisy)
    >>> by_all_labels = GridSearchCV(model, levels, cv=3).fit(X, y_noisy)
    >>> true_score = search.best_estimator_.score(X, y)
    >>> bool(by_all_labels.best_score_ < search.best_score_ < true_score)
    True
    """
    is_real = isinstance(min_quality, Real) and not isinstance(min_quality, bool)
    if not is_real or not 0 <= min_quality <= 1:
        raise ValueError(f"min_quality must be a number in [0, 1], got {min_quality!r}.")
    if detector is not None:
        if not hasattr(detector, "score_labels"):
            raise ValueError(f"detector must have score_labels(X, y), or be None; got {detector!r}.")
        check_is_fitted(detector, msg="detector must be fitted; pass detector=%(name)s(...).fit(X, y).")
    if not isinstance(scoring, str) and not callable(scoring):
        raise ValueError(f"scoring must be the name of a scorer or a callable, got {scoring!r}.")
    return _TrustedLabelScorer(get_scorer(scoring), detector, float(min_quality))


class _TrustedLabelScorer:
    """Can be pickled, and passes on the metadata request of the scorer inside."""

    def __init__(self, scorer, detector, min_quality):
        self.scorer = scorer
        self.detector = detector
        self.min_quality = min_quality

    def __call__(self, estimator, X, y, **params):
        X, y = indexable(X, y)
        quality = np.asarray(self._quality(estimator, X, y))
        trusted = np.flatnonzero(quality >= self.min_quality)
        if len(trusted) == 0:
            raise ValueError(
                f"No held-out row has a label quality of at least min_quality={self.min_quality:g}; the largest of "
                f"{len(quality)} is {quality.max():.3g}."
            )
        rows, labels = _safe_indexing(X, trusted), _safe_indexing(y, trusted)
        return self.scorer(estimator, rows, labels, **_check_method_params(X, params, trusted))

    def _quality(self, estimator, X, y):
        if self.detector is not None:
            return self.detector.score_labels(X, y)
        model, rows = estimator, X
        while not hasattr(model, "detector_"):
            if isinstance(model, Pipeline):
                rows = model[:-1].transform(rows) if len(model) > 1 else rows
                model = model[-1]
            elif hasattr(model, "best_estimator_"):
                model = model.best_estimator_
            else:
                raise ValueError(
                    f"trusted_label_scorer needs a detector to score {type(model).__name__}: pass detector=, or score "
                    "a CleanLabelClassifier."
                )
        if not hasattr(model.detector_, "score_labels"):
            raise ValueError(
                f"{type(model.detector_).__name__} has no score_labels(X, y) to judge held-out labels with; pass "
                "detector= to trusted_label_scorer."
            )
        return model.detector_.score_labels(rows, y)

    def __repr__(self):
        return f"trusted_label_scorer({self.scorer!r}, detector={self.detector!r}, min_quality={self.min_quality:g})"

    def get_metadata_routing(self):
        return get_routing_for_object(self.scorer)


def _detected(detector, name, n):
    """A result of the detector, checked to have an entry for each row."""
    values = getattr(detector, name, None)
    if values is None or np.shape(values) != (n,):
        got = "no such attribute" if values is None else f"shape {np.shape(values)}"
        raise ValueError(f"After fit, the detector must have {name} of shape ({n},), an entry a row; got {got}.")
    return np.asarray(values)
