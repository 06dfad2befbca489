"""Semi-supervised classification: pseudo-labels are trusted where a sparse indicator of wrong labels vanishes first."""

import warnings
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, indexable
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import column_or_1d, validate_data

from ._engine.label_path import label_entries
from ._engine.row_basis import RowBasis
from ._label_fit import check_complete, encoded
from ._meta_classifier import PREDICTION_METHODS, MetaClassifierMixin, weight_name
from ._missing import is_missing
from ._sklearn_compat import (
    HasMethods,
    Interval,
    RealNotInt,
    _check_method_params,
    _fit_context,
    _raise_for_params,
    _routing_enabled,
    _safe_indexing,
)
from ._weights import check_weights

# An integer step is raised where it would take more rounds.
MOST_ROUNDS = 10
# The default representation has at most this share of the rows as columns, and at most so many.
ROWS_PER_COLUMN = 10
MAX_COLUMNS = 100


class InstanceCredibilityClassifier(MetaClassifierMixin, BaseEstimator):
    """Train a classifier on few labels and many unlabeled rows by instance credibility inference.

    Each round fits a clone of `estimator` on the trusted rows, at first those with a label, and gives all other rows
    the label that it predicts. With these labels as one-hot rows y_i and a low-dimensional representation z_i of all
    rows, labeled or not, it computes the path of

        min over b0, B, Gamma   (1/2) sum_i s_i ||y_i - b0 - B'z_i - gamma_i||^2 + lambda sum_i s_i ||gamma_i||

    A row whose label fits the linear pattern of the others has gamma_i = 0 down to a small lambda. In each class, the
    rows whose gamma_i vanishes first are trusted in addition, with the labels predicted in this round, and the next
    round begins. Labels that were predicted before are predicted again, so that an early error need not stay.

    Parameters
    ----------
    estimator : classifier
        Is cloned and fitted on the trusted rows. May be a pipeline.
    unlabeled_value : object, default=-1
        What y holds where there is no label; may be NaN or None. All else are labels.
    representation : transformer, default=None
        Maps X, all rows of it, to the columns z of the path; the estimator sees X itself. Its ``fit_transform`` is
        enough, so manifold learning is possible. It is fitted without weights. None means X itself, or, where X has
        more columns than a tenth of the rows (or than 100), as many leading principal components of the standardised
        columns, but not fewer than one less than there are classes.
    step : int or float, default=5
        How many rows a class are trusted in addition each round, on average over classes, or a tenth of all unlabeled
        rows if that is more, so that ten rounds do. A float in (0, 1] is a share of all unlabeled rows instead.
    max_iter : int, default=None
        Most rounds; rows not trusted by then stay unlabeled. None means until all rows are trusted.

    Attributes
    ----------
    estimator_ : classifier
        The clone fitted last, on all trusted rows.
    classes_ : ndarray of shape (n_classes,)
        The labels found in y, sorted.
    transduction_ : ndarray of shape (n_samples,)
        Labels of the last fit, given or predicted; `unlabeled_value` for rows that were not trusted.
    labeled_iter_ : ndarray of int of shape (n_samples,)
        Round in which a row was first trusted: 0 for given labels, -1 for rows that never were.
    n_iter_ : int
        Number of rounds; one where there is nothing to trust.
    termination_condition_ : {'all_labeled', 'max_iter'}
        Why the rounds ended.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features, if X has names that are all strings.

    Raises
    ------
    ValueError
        If fewer than two classes have a label, if strings in y look like `unlabeled_value`, or if the representation
        does not return a finite row for each row, and fewer columns than rows.

    See Also
    --------
    CleanLabelClassifier : For labels that are given but may be wrong.
    sklearn.semi_supervised.SelfTrainingClassifier : Trusts rows by the classifier's own probabilities.

    Notes
    -----
    The rows trusted in a round are shared out to classes in proportion to ``f_c ** (m / (m + 1))``, with f_c the share
    of class c among the predicted labels and m the mean number of given labels a class: to square roots with one label
    a class, nearly to the shares themselves with many. In [1]_ every class gets the same number, which takes in wrong
    rows of small classes before right rows of large ones; but where labels are few, shares let a class that is
    predicted too often take over.

    References
    ----------
    .. [1] Wang, Xu, Liu, Zhang & Fu (2020), "Instance credibility inference for few-shot learning", CVPR 2020.
       Differences: shares of classes as above, at most ten rounds by default, an intercept.
    .. [2] Wang, Zhang & Fu (2022), "How to trust unlabeled data? Instance credibility inference for few-shot learning",
       IEEE Transactions on Pattern Analysis and Machine Intelligence 44, 6240-6253.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.preprocessing import scale
    >>> from skspar import InstanceCredibilityClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> X, partly = scale(X), np.full(178, -1)
    >>> partly[[0, 10, 70, 80, 140, 150]] = y[[0, 10, 70, 80, 140, 150]]
    >>> model = InstanceCredibilityClassifier(LogisticRegression()).fit(X, partly)
    >>> model.termination_condition_
    'all_labeled'
    >>> bool(model.score(X, y) > 0.95)
    True
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"])],
        "unlabeled_value": "no_validation",
        "representation": [HasMethods(["fit_transform"]), HasMethods(["fit", "transform"]), None],
        "step": [Interval(Integral, 1, None, closed="left"), Interval(RealNotInt, 0, 1, closed="right")],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(self, estimator, *, unlabeled_value=-1, representation=None, step=5, max_iter=None):
        self.estimator = estimator
        self.unlabeled_value = unlabeled_value
        self.representation = representation
        self.step = step
        self.max_iter = max_iter

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, **fit_params):
        """Fit on labeled and unlabeled rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows, labeled or not.
        y : array-like of shape (n_samples,)
            Labels, `unlabeled_value` where there is none.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights s_i >= 0, which count rows. Rows without weight are left out, and stay unlabeled.
        **fit_params : dict
            Passed to the ``fit`` of the estimator as it requests it, if metadata routing is enabled.

        Returns
        -------
        self : InstanceCredibilityClassifier
            The fitted classifier.
        """
        _raise_for_params(fit_params, self, "fit")
        X, y = indexable(X, y)
        validate_data(self, X, y, skip_check_array=True)
        y = column_or_1d(y, warn=True)
        given = ~_is_value(y, self.unlabeled_value)
        self.classes_, codes = self._encoded(y, given)
        weights = np.ones(len(y)) if sample_weight is None else check_weights(sample_weight, X)
        estimator = clone(self.estimator)
        params = self._routed(estimator, {} if sample_weight is None else {"sample_weight": weights}, fit_params)
        unlabeled = ~given & (weights > 0.0)
        if not unlabeled.any():
            warnings.warn(
                f"y has no unlabeled rows (unlabeled_value={self.unlabeled_value!r}): the estimator is fitted on the "
                "given labels.",
                UserWarning,
                stacklevel=3,
            )
        entries = self._entries_of(X, weights) if unlabeled.any() else None
        trust = _Trust(given, unlabeled, weights, len(self.classes_))
        self.n_iter_ = 0
        while self.n_iter_ == 0 or (not trust.complete() and self.n_iter_ != self.max_iter):
            self.n_iter_ += 1
            if trust.complete():
                break
            self._fit_trusted(estimator, X, codes, trust.trusted, params)
            predicted = estimator.predict(_safe_indexing(X, np.flatnonzero(unlabeled)))
            codes[unlabeled] = np.searchsorted(self.classes_, predicted)
            trust.extend(codes, entries(codes), self.step)
        self._fit_trusted(estimator, X, codes, trust.trusted, params)
        self.estimator_ = estimator
        self.termination_condition_ = "all_labeled" if trust.complete() else "max_iter"
        self.labeled_iter_ = trust.rounds
        self.transduction_ = y.copy()
        pseudo = trust.trusted & ~given
        self.transduction_[pseudo] = self.classes_[codes[pseudo]]
        return self

    def _encoded(self, y, given):
        """Sorted classes of the given labels, and their places; -1 where there is none."""
        labels = y[given]
        if labels.dtype.kind in "fO":
            check_complete(
                labels, " If these are the rows without a label, pass unlabeled_value=None or unlabeled_value=np.nan."
            )
        if len(labels) == 0:
            raise ValueError(f"y has no labels: all {len(y)} entries are unlabeled_value={self.unlabeled_value!r}.")
        classes, places = encoded(labels)
        alike = [label for label in classes.tolist() if str(label) == str(self.unlabeled_value)]
        if alike:
            raise ValueError(
                f"y has labels {alike[0]!r} of type {type(alike[0]).__name__}, which look like "
                f"unlabeled_value={self.unlabeled_value!r} of type {type(self.unlabeled_value).__name__}: an array of "
                "strings turns numbers into strings. Use dtype object, or an unlabeled_value of the same type."
            )
        if len(classes) < 2:
            raise ValueError(
                f"y must have labels of at least two classes, got one class: {classes.tolist()}. "
                f"{np.sum(~given)} of {len(y)} entries are unlabeled_value={self.unlabeled_value!r}; if that is a "
                "label, choose another unlabeled_value."
            )
        codes = np.full(len(y), -1)
        codes[given] = places
        return classes, codes

    def _routed(self, estimator, given, fit_params):
        """Metadata for the fits of the estimator."""
        if _routing_enabled():
            return dict(process_routing(self, "fit", **given, **fit_params).estimator.fit)
        return {weight_name(estimator): weights for weights in given.values()}

    def _fit_trusted(self, estimator, X, codes, trusted, params):
        rows = np.flatnonzero(trusted)
        estimator.fit(_safe_indexing(X, rows), self.classes_[codes[rows]], **_check_method_params(X, params, rows))

    def _entries_of(self, X, weights):
        """The function that gives each row with weight its entry on the path, from the classes of all rows."""
        present = np.flatnonzero(weights > 0.0)
        rows = X if len(present) == len(weights) else _safe_indexing(X, present)
        n, n_classes = len(present), len(self.classes_)
        Z = _default_columns(rows, n_classes) if self.representation is None else self._represented(rows, n)
        basis = RowBasis(Z, weights[present], fit_intercept=True)
        if basis.rank >= n:
            raise ValueError(
                f"representation must return fewer independent columns than rows, else every label is fitted exactly; "
                f"got {n} rows and {Z.shape[1]} columns. Reduce them, for instance by a PCA."
            )

        def entries(codes):
            found = np.full(len(weights), np.inf)
            Y = np.zeros((n, n_classes))
            Y[np.arange(n), codes[present]] = 1.0
            found[present] = label_entries(basis.Q, Y, weights[present], accuracy=0.0)
            return found

        return entries

    def _represented(self, rows, n):
        transformer = clone(self.representation)
        fitted = hasattr(transformer, "fit_transform")
        Z = transformer.fit_transform(rows) if fitted else transformer.fit(rows).transform(rows)
        Z = Z.toarray() if sparse.issparse(Z) else Z
        Z = check_array(Z, dtype=np.float64, input_name="The output of representation")
        if len(Z) != n:
            raise ValueError(f"representation must return a row for each of the {n} rows, got {len(Z)}.")
        return Z

    def get_metadata_routing(self):
        """Say which metadata the estimator requests, and ``fit`` and ``score`` themselves.

        Returns
        -------
        routing : MetadataRouter
            Routing of scikit-learn's metadata.
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        for method in PREDICTION_METHODS:
            mapping.add(caller=method, callee=method)
        return MetadataRouter(owner=self).add_self_request(self).add(estimator=self.estimator, method_mapping=mapping)

    def __sklearn_tags__(self):
        if self.representation is not None:
            return self._tags_with(self.estimator, [self.representation])
        tags = self._tags_with(self.estimator)
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = False
        return tags


class _Trust:
    """Which rows are trusted, and since which round."""

    def __init__(self, given, unlabeled, weights, n_classes):
        self.unlabeled, self.weights, self.n_classes = unlabeled, weights, n_classes
        self.trusted = given.copy()
        self.rounds = np.where(given, 0, -1)
        per_class = weights[given].sum() / n_classes
        self.exponent = per_class / (per_class + 1.0)

    def complete(self):
        return bool(np.all(self.trusted[self.unlabeled]))

    def extend(self, codes, entries, step):
        """Trust one round more: of each class, the rows with the smallest entries."""
        rows = np.flatnonzero(self.unlabeled)
        counts = np.bincount(codes[rows], self.weights[rows], self.n_classes)
        done = self.unlabeled & self.trusted
        before = np.bincount(codes[done], self.weights[done], self.n_classes)
        total = counts.sum()
        if isinstance(step, Integral):
            size = max(step * self.n_classes, total / MOST_ROUNDS)
        else:
            size = step * total
        place = self.rounds.max() + 1
        # classes round up, so that small steps may be ahead of their plan: one row more at least
        target = max(place * size, before.sum() + self.weights[rows].min())
        quota = _quotas(counts**self.exponent, counts, min(target, total))
        for c in range(self.n_classes):
            left = rows[(codes[rows] == c) & ~self.trusted[rows]]
            left = left[np.argsort(entries[left], kind="stable")]
            reached = np.cumsum(self.weights[left]) - self.weights[left]
            new = left[reached < (quota[c] - before[c]) * (1.0 - 1e-12)]
            self.trusted[new] = True
            self.rounds[new] = place


def _quotas(wanted, counts, total):
    """``min(counts, level * wanted)`` with the level at which they sum to total; wanted is zero where counts is."""
    order = np.argsort(np.divide(counts, wanted, out=np.zeros_like(counts), where=counts > 0))
    left, share = total, wanted.sum()
    quota = counts.astype(np.float64)
    for place, c in enumerate(order):
        if counts[c] * share > left * wanted[c]:
            rest = order[place:]
            quota[rest] = left * wanted[rest] / share
            break
        left -= counts[c]
        share -= wanted[c]
    return quota


def _default_columns(rows, n_classes):
    """X itself, or leading principal components of its standardised columns where there are many."""
    X = check_array(rows, accept_sparse="csr", dtype=np.float64, input_name="X")
    n, p = X.shape
    most = min(max(min(n // ROWS_PER_COLUMN, MAX_COLUMNS), n_classes - 1), n // 2)
    if p <= most:
        return X.toarray() if sparse.issparse(X) else X
    # arrays, whatever is set globally
    scaler = StandardScaler(with_mean=not sparse.issparse(X)).set_output(transform="default")
    X = scaler.fit_transform(X)
    solver = "arpack" if sparse.issparse(X) else "auto"
    return PCA(most, svd_solver=solver, random_state=0).set_output(transform="default").fit_transform(X)


def _is_value(y, value):
    """Which entries of y are the value; NaN is itself."""
    if value is None:
        return np.array([entry is None for entry in y.tolist()], dtype=bool)
    if isinstance(value, Real) and np.isnan(value):
        return np.array([isinstance(entry, Real) and bool(np.isnan(entry)) for entry in y.tolist()], dtype=bool)
    is_string = isinstance(value, str)
    return np.array(
        [isinstance(entry, str) == is_string and not is_missing(entry) and entry == value for entry in y.tolist()],
        dtype=bool,
    )
