"""Orthogonal matching pursuit: fit, cross-validated fit, path; sparse codes of many signals on one dictionary."""

import warnings
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Bunch, check_array, check_consistent_length, check_random_state
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted, validate_data

from ._cross_validation import CrossValidationMixin
from ._engine.design import make_design
from ._engine.folds import Regression
from ._engine.matching_pursuit import Dictionary, column_norms, pursue_columns, pursue_gram
from ._engine.penalty import BlockPenalty
from ._engine.threads import threads
from ._linear import LinearModel, as_matrix, check_range, warn_unless_converged
from ._progress import Progress
from ._sklearn_compat import Interval, StrOptions, _fit_context, validate_params
from ._weights import check_weights

CRITERION = [StrOptions({"omp", "ols"})]
COUNT = [Interval(Integral, 1, None, closed="left"), None]
BOUND = [Interval(Real, 0, None, closed="left"), None]
STOPPING = {"n_nonzero_coefs": COUNT, "tol": BOUND, "rtol": BOUND, "criterion": CRITERION}

# Beyond this many features no Gram matrix of all of them is made unasked.
MOST_FEATURES = 5000
# What a method of the encoder does not use must have its default.
ITERATIVE = {"n_nonzero_coefs": None, "tol": None, "rtol": None, "criterion": "omp"}
UNUSED = {"omp": {"alpha": 1.0}, "bpdn": ITERATIVE, "threshold": ITERATIVE}
# Signals whose penalised codes are computed together, to which relative duality gap, and in how many iterations.
SIGNALS, TOL, MAX_ITER = 256, 1e-8, 10_000


@validate_params(
    {"X": ["array-like", "sparse matrix"], "y": ["array-like"], "fit_intercept": ["boolean"], **STOPPING},
    prefer_skip_nested_validation=True,
)
def omp_path(
    X,
    y,
    *,
    n_nonzero_coefs=None,
    tol=None,
    rtol=None,
    criterion="omp",
    fit_intercept=False,
    sample_weight=None,
):
    """Compute every step of orthogonal matching pursuit.

    Step k adds the feature j that maximises ``|x_j'S r| / ||x_j||_S`` (``criterion="omp"``) and
    then fits least squares on the features chosen so far,

        min_b  sum_i s_i (y_i - b0 - x_i'b)^2    over b supported on these features,

    whose residual is the next r; S holds the sample weights s.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Features (atoms are columns); they need not be normalised. Sparse input is read as CSC.
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
        Targets (signals are columns), each of which chooses for itself.
    n_nonzero_coefs : int, default=None
        Largest number of steps. None: a tenth of the features, at least one, unless ``tol`` or
        ``rtol`` is given, which then decides alone. Never more than there are rows; a target whose
        residual is zero stops there, without a warning.
    tol : float, default=None
        Stop when the squared norm ``sum_i s_i r_i^2`` of the residual is at most this, in squared
        units of y.
    rtol : float, default=None
        The same relative to the squared norm of y (less its mean if there is an intercept). At
        most one of ``tol`` and ``rtol`` may be given.
    criterion : {'omp', 'ols'}, default='omp'
        Choose the feature that correlates most with the residual, or the one that leaves the
        smallest residual after the step (order-recursive selection, orthogonal least squares).
    fit_intercept : bool, default=False
        Whether to fit the intercept b0.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights s_i >= 0.

    Returns
    -------
    path : Bunch
        With the fields, where n_steps is the largest number of steps of a target:

        - coefs : ndarray of shape (n_features, n_steps) or (n_targets, n_features, n_steps),
          column k the coefficients after k + 1 steps. A target that stopped earlier keeps its
          last coefficients.
        - intercepts : ndarray of shape (n_steps,) or (n_targets, n_steps).
        - support : ndarray of shape (n_steps,) or (n_targets, n_steps), the features in the
          order of selection, -1 beyond a target's last step.
        - residual_norms : ndarray of shape (n_steps + 1,) or (n_targets, n_steps + 1), from
          before the first step on, in units of y; the last is repeated.
        - n_iters : int or ndarray of shape (n_targets,), the numbers of steps.

    Raises
    ------
    ValueError
        If ``n_nonzero_coefs`` exceeds the number of features, or both tolerances are given.

    Warns
    -----
    RuntimeWarning
        If a target stops because all further features depend linearly on those chosen.

    References
    ----------
    .. [1] Pati, Rezaiifar & Krishnaprasad (1993), "Orthogonal matching pursuit: recursive
       function approximation with applications to wavelet decomposition", Asilomar Conference.
    .. [2] Chen, Billings & Luo (1989), "Orthogonal least squares methods and their application
       to non-linear system identification", International Journal of Control 50, 1873-1896.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import omp_path
    >>> X = np.random.default_rng(0).normal(size=(40, 100))
    >>> y = X[:, [7, 50]] @ [2.0, -1.0]
    >>> path = omp_path(X, y, n_nonzero_coefs=5)
    >>> path.support
    array([ 7, 50])
    >>> path.residual_norms.round(6)[-1] + 0
    np.float64(0.0)
    """
    X = check_array(X, accept_sparse="csc", dtype=[np.float64, np.float32], input_name="X")
    y = check_array(y, ensure_2d=False, dtype=[np.float64, np.float32], input_name="y")
    check_consistent_length(X, y)
    check_range(X)
    problem = _Problem(X, as_matrix(y), check_weights(sample_weight, X), fit_intercept)
    stopping = _stopping(n_nonzero_coefs, tol, rtol, X.shape)
    traces = problem.pursue(*stopping, criterion)
    _warn_if_exhausted(sum(trace.exhausted for trace in traces), len(traces), stopping[0])
    n_steps = max(trace.n_steps for trace in traces)
    T, p = len(traces), X.shape[1]
    coefs = np.zeros((T, p, n_steps), dtype=X.dtype)
    intercepts = np.zeros((T, n_steps), dtype=X.dtype)
    support, norms = np.full((T, n_steps), -1, dtype=np.intp), np.zeros((T, n_steps + 1))
    for t, trace in enumerate(traces):
        k = trace.n_steps
        support[t, :k] = trace.support
        norms[t] = trace.residual_norms + [trace.residual_norms[-1]] * (n_steps - k)
        norms[t] *= problem.scales[t] * np.sqrt(problem.total_weight)
        for step in range(n_steps):
            coefs[t, trace.support[: step + 1], step], intercepts[t, step] = problem.solution(t, trace, step + 1)
    n_iters = np.array([trace.n_steps for trace in traces])
    if y.ndim == 1:
        coefs, intercepts, support, norms, n_iters = coefs[0], intercepts[0], support[0], norms[0], int(n_iters[0])
    return Bunch(coefs=coefs, intercepts=intercepts, support=support, residual_norms=norms, n_iters=n_iters)


class OrthogonalMatchingPursuit(LinearModel):
    """Least squares on features that are chosen one by one.

    Minimises

        sum_i s_i (y_i - b0 - x_i'b)^2    subject to at most k nonzero coefficients

    greedily: each step adds the feature that correlates most with the residual and fits least
    squares on all features chosen so far. Several targets choose each for itself.

    Selection divides by the norms of the features (centred if there is an intercept), so their
    units do not matter; coefficients are those of the features as given.

    Parameters
    ----------
    n_nonzero_coefs : int, default=None
        Largest number k of features. None: a tenth of the features, at least one, unless ``tol``
        or ``rtol`` is given, which then decides alone. Never more than there are rows; a target
        whose residual is zero stops there, without a warning.
    tol : float, default=None
        Stop when the squared norm ``sum_i s_i r_i^2`` of the residual is at most this, in squared
        units of y. Whichever of k and the tolerance comes first ends the search.
    rtol : float, default=None
        The same relative to the squared norm of y (less its mean if there is an intercept). At
        most one of ``tol`` and ``rtol`` may be given.
    criterion : {'omp', 'ols'}, default='omp'
        Choose the feature that correlates most with the residual, or the one that leaves the
        smallest residual after the step (order-recursive selection, orthogonal least squares).
    fit_intercept : bool, default=True
        Whether to fit the intercept b0.
    precompute : bool or 'auto', default='auto'
        Whether to compute the Gram matrix of all features first: worth it for many targets.
    n_jobs : int, default=None
        Threads that share the targets where the Gram matrix is computed.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients b.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept b0.
    n_iter_ : int or ndarray of shape (n_targets,)
        Number of steps, which is the number of features chosen.
    n_nonzero_coefs_ : int
        The largest number of features that was allowed.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during fit, where all are strings.

    See Also
    --------
    OrthogonalMatchingPursuitCV : Chooses the number of features by cross-validation.
    SparseEncoder : Codes of many signals on one dictionary, as a transformer.
    omp_path : All steps.

    Notes
    -----
    With unit-norm atoms of mutual coherence mu, a signal made of ``k < (1 + 1 / mu) / 2`` atoms is
    recovered exactly (Tropp 2004, theorem A). From the Gram matrix a target costs n p + p k^2 / 2
    multiplications, from the columns n p k.

    References
    ----------
    .. [1] Pati, Rezaiifar & Krishnaprasad (1993), "Orthogonal matching pursuit: recursive
       function approximation with applications to wavelet decomposition", Asilomar Conference.
    .. [2] Rubinstein, Zibulevsky & Elad (2008), "Efficient implementation of the K-SVD algorithm
       using batch orthogonal matching pursuit", Technion.
    .. [3] Tropp (2004), "Greed is good: algorithmic results for sparse approximation", IEEE
       Transactions on Information Theory 50, 2231-2242.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import OrthogonalMatchingPursuit
    >>> X = np.random.default_rng(0).normal(size=(40, 100))
    >>> y = 3.0 + X[:, [7, 50]] @ [2.0, -1.0]
    >>> model = OrthogonalMatchingPursuit(n_nonzero_coefs=2).fit(X, y)
    >>> np.flatnonzero(model.coef_)
    array([ 7, 50])
    >>> model.coef_[[7, 50]].round(6), round(float(model.intercept_), 6)
    (array([ 2., -1.]), 3.0)
    """

    _parameter_constraints: dict = {
        **STOPPING,
        "fit_intercept": ["boolean"],
        "precompute": ["boolean", StrOptions({"auto"})],
        "n_jobs": [Integral, None],
    }

    path = staticmethod(omp_path)

    def __init__(
        self,
        n_nonzero_coefs=None,
        *,
        tol=None,
        rtol=None,
        criterion="omp",
        fit_intercept=True,
        precompute="auto",
        n_jobs=None,
    ):
        self.n_nonzero_coefs = n_nonzero_coefs
        self.tol = tol
        self.rtol = rtol
        self.criterion = criterion
        self.fit_intercept = fit_intercept
        self.precompute = precompute
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Response.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights s_i >= 0; a row of weight k counts as k rows.

        Returns
        -------
        self : OrthogonalMatchingPursuit
            The fitted model.

        Raises
        ------
        ValueError
            If ``n_nonzero_coefs`` exceeds the number of features, or both tolerances are given.

        Warns
        -----
        RuntimeWarning
            If a target stops because all further features depend linearly on those chosen.
        """
        X, y, weights = self._validated(X, y, sample_weight)
        stopping = _stopping(self.n_nonzero_coefs, self.tol, self.rtol, X.shape)
        problem = _Problem(X, as_matrix(y), weights, self.fit_intercept)
        self.n_nonzero_coefs_ = stopping[0]
        p, T = X.shape[1], problem.Y.shape[1]
        by_gram = self.precompute
        if by_gram == "auto":
            by_gram = p <= MOST_FEATURES and 2 * T * stopping[0] > p
        if by_gram:
            coef, intercept, counts, exhausted = problem.pursue_gram(*stopping, self.criterion, self.n_jobs)
        else:
            traces = problem.pursue(*stopping, self.criterion)
            coef, intercept = np.zeros((p, T)), np.zeros(T)
            for t, trace in enumerate(traces):
                coef[trace.support, t], intercept[t] = problem.solution(t, trace)
            counts = np.array([trace.n_steps for trace in traces])
            exhausted = sum(trace.exhausted for trace in traces)
        _warn_if_exhausted(exhausted, T, stopping[0])
        self.n_iter_ = int(counts[0]) if y.ndim == 1 else counts
        self._set_linear(coef, intercept, X, y)
        return self


class OrthogonalMatchingPursuitCV(CrossValidationMixin, LinearModel):
    """Orthogonal matching pursuit with the number of features chosen by cross-validation.

    All folds advance together: one product with X serves a step of every fold, and no fold
    copies X.

    Parameters
    ----------
    max_nonzero_coefs : int, default=None
        Largest number of features tried. None: a tenth of the features, at least five, at most
        all of them.
    criterion : {'omp', 'ols'}, default='omp'
        How features are chosen; see `OrthogonalMatchingPursuit`.
    selection_rule : {'min', '1se'}, default='min'
        Take the number of features with the smallest mean error, or the smallest number whose
        mean error is within one standard error of that.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    cv : int, cross-validation generator or iterable, default=None
        Splitter, as in scikit-learn; None means five folds.
    n_jobs : int, default=None
        Threads that share the folds.

    Attributes
    ----------
    n_nonzero_coefs_ : int
        The number of features chosen.
    mse_path_ : ndarray of shape (n_steps, n_folds)
        Weighted mean squared error on the held-out rows after 1, 2, ... steps, in squared units
        of y, averaged over targets.
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients of the fit on all rows.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept.
    n_iter_ : int or ndarray of shape (n_targets,)
        Number of steps of the fit on all rows.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during fit, where all are strings.

    See Also
    --------
    OrthogonalMatchingPursuit : For a given number of features.

    References
    ----------
    .. [1] Pati, Rezaiifar & Krishnaprasad (1993), "Orthogonal matching pursuit: recursive
       function approximation with applications to wavelet decomposition", Asilomar Conference.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import OrthogonalMatchingPursuitCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 100))
    >>> y = X[:, [7, 50]] @ [2.0, -1.0] + 0.1 * rng.normal(size=60)
    >>> model = OrthogonalMatchingPursuitCV(selection_rule="1se").fit(X, y)
    >>> model.n_nonzero_coefs_
    2
    """

    _parameter_constraints: dict = {
        "max_nonzero_coefs": COUNT,
        "criterion": CRITERION,
        "selection_rule": [StrOptions({"min", "1se"})],
        "fit_intercept": ["boolean"],
        "cv": ["cv_object"],
        "n_jobs": [Integral, None],
    }

    path = staticmethod(omp_path)

    def __init__(
        self,
        max_nonzero_coefs=None,
        *,
        criterion="omp",
        selection_rule="min",
        fit_intercept=True,
        cv=None,
        n_jobs=None,
    ):
        self.max_nonzero_coefs = max_nonzero_coefs
        self.criterion = criterion
        self.selection_rule = selection_rule
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, **params):
        """Choose the number of features and fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Response.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights s_i >= 0, in the fits and in the errors of held-out rows.
        **params : dict
            Parameters of the splitter's ``split``, such as ``groups``: row groups. Other names
            need metadata routing to be enabled.

        Returns
        -------
        self : OrthogonalMatchingPursuitCV
            The fitted model.

        Raises
        ------
        ValueError
            If a fold has no weight on its training or held-out rows, or ``max_nonzero_coefs``
            exceeds the number of features.
        """
        splitter = self._splitter(sample_weight, params)
        X, y, weights = self._validated(X, y, sample_weight)
        p = X.shape[1]
        if self.max_nonzero_coefs is not None:
            k_most = _at_most_features(self.max_nonzero_coefs, p, "max_nonzero_coefs")
        else:
            k_most = min(p, max(5, p // 10))
        splits = self._splits(splitter, X, y, weights)
        problem = _Problem(X, as_matrix(y), weights, self.fit_intercept)
        fold_weights = [weights * np.bincount(train, minlength=len(weights)) for train, _ in splits]
        T = problem.Y.shape[1]
        progress = Progress(self, X, y, sample_weight, 2)
        # the fit to all rows is the first of these paths
        with progress.stage("paths of the folds and of all rows"):
            traces = problem.pursue(
                min(k_most, len(weights)), -1.0, 0.0, self.criterion, [weights, *fold_weights], self.n_jobs
            )
        n_steps = max(1, max(trace.n_steps for trace in traces))
        errors = np.zeros((n_steps, len(splits)))
        with progress.stage("held-out errors", len(splits)) as stage:
            for k, (_, test) in enumerate(splits):
                task = stage.begin("fold", place=k)
                for t in range(T):
                    errors[:, k] += problem.heldout_errors(t, traces[(k + 1) * T + t], weights, test, n_steps) / T
                task.end()
        self.mse_path_ = errors
        self.n_nonzero_coefs_ = self._choose(errors) + 1
        coef, intercept = np.zeros((p, T)), np.zeros(T)
        counts = np.array([min(self.n_nonzero_coefs_, trace.n_steps) for trace in traces[:T]])
        for t, trace in enumerate(traces[:T]):
            coef[trace.support[: counts[t]], t], intercept[t] = problem.solution(t, trace, counts[t])
        self.n_iter_ = int(counts[0]) if y.ndim == 1 else counts
        self._set_linear(coef, intercept, X, y)
        progress.end()
        return self


class SparseEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Codes each row of X by a few atoms of a dictionary.

    A row x (a signal) becomes the code c, a coefficient for each atom d_j, by

    - ``method="omp"``: ``min ||x - sum_j c_j d_j||^2`` over at most k nonzero c_j, greedily;
    - ``method="bpdn"``: ``min 1 / (2 n_features) ||x - sum_j c_j d_j||^2 + alpha sum_j |c_j|``;
    - ``method="threshold"``: ``c_j = soft(d_j'x, n_features alpha) / ||d_j||^2``, which solves the same problem
      where the atoms are orthogonal.

    Codes belong to the atoms as given, which need not have unit norm.

    Parameters
    ----------
    dictionary : array-like of shape (n_components, n_features), default=None
        The atoms, a row each. None: rows of the training data, drawn at random and scaled to
        unit norm.
    n_components : int, default=None
        How many training rows to draw if no dictionary is given; None: as many as features, or
        all rows that are not zero if there are fewer.
    method : {'omp', 'bpdn', 'threshold'}, default='omp'
        How codes are computed.
    n_nonzero_coefs : int, default=None
        Largest number k of atoms of a code, for 'omp'. None: a tenth of the atoms, at least one, unless
        ``tol`` or ``rtol`` is given, which then decides alone. Never more than the length of a
        signal; a row whose residual is zero stops there, without a warning.
    tol : float, default=None
        For 'omp': stop when the squared norm of a row's residual is at most this, in squared
        units of X. For noise of SD s in each of the n_features entries, about
        ``1.3 * n_features * s**2``.
    rtol : float, default=None
        The same relative to the squared norm of the row. At most one of the two may be given.
    criterion : {'omp', 'ols'}, default='omp'
        For 'omp': how atoms are chosen; see `OrthogonalMatchingPursuit`.
    alpha : float, default=1.0
        For 'bpdn' and 'threshold': strength of the penalty, in units of X times those of the
        atoms.
    sparse_output : bool, default=False
        Whether `transform` returns a CSR matrix; then memory does not grow with the number of atoms.
    n_jobs : int, default=None
        Threads that share the rows, for 'omp'.
    random_state : int, RandomState instance or None, default=None
        Which training rows become atoms.

    Attributes
    ----------
    dictionary_ : ndarray of shape (n_components, n_features)
        The atoms.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during fit, where all are strings.

    See Also
    --------
    OrthogonalMatchingPursuit : As a regression, with intercept and sample weights.
    BPDN : The penalised code as a regression.

    References
    ----------
    .. [1] Rubinstein, Zibulevsky & Elad (2008), "Efficient implementation of the K-SVD algorithm
       using batch orthogonal matching pursuit", Technion.
    .. [2] Zhu, Chen, Sun & Zhang (2020), "Efficient implementations for orthogonal matching
       pursuit", Electronics 9, 1507.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import SparseEncoder
    >>> dictionary = np.vstack([np.eye(4), np.ones((1, 4)) / 2])
    >>> encoder = SparseEncoder(dictionary, n_nonzero_coefs=2)
    >>> codes = encoder.fit_transform([[1.0, 1.0, 1.0, 4.0]])
    >>> codes.round(6) + 0.0
    array([[0., 0., 0., 3., 2.]])
    >>> encoder.inverse_transform(codes).round(6)
    array([[1., 1., 1., 4.]])
    """

    _parameter_constraints: dict = {
        **STOPPING,
        "dictionary": ["array-like", None],
        "n_components": COUNT,
        "method": [StrOptions({"omp", "bpdn", "threshold"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "sparse_output": ["boolean"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        dictionary=None,
        *,
        n_components=None,
        method="omp",
        n_nonzero_coefs=None,
        tol=None,
        rtol=None,
        criterion="omp",
        alpha=1.0,
        sparse_output=False,
        n_jobs=None,
        random_state=None,
    ):
        self.dictionary = dictionary
        self.n_components = n_components
        self.method = method
        self.n_nonzero_coefs = n_nonzero_coefs
        self.tol = tol
        self.rtol = rtol
        self.criterion = criterion
        self.alpha = alpha
        self.sparse_output = sparse_output
        self.n_jobs = n_jobs
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Take the dictionary, or draw it from the rows of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Signals, a row each.
        y : object, default=None
            Ignored.

        Returns
        -------
        self : SparseEncoder
            The fitted encoder.

        Raises
        ------
        ValueError
            If the dictionary has another width than X or an atom that is zero, if there are
            fewer rows to draw than ``n_components``, if ``n_nonzero_coefs`` exceeds the number
            of atoms, if both tolerances are given, or a parameter that the method does not use.
        """
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32])
        self._check_used()
        if self.dictionary is None:
            dictionary = self._draw(X)
        else:
            dictionary = check_array(self.dictionary, dtype=[np.float64, np.float32], input_name="dictionary")
            if dictionary.shape[1] != X.shape[1]:
                raise ValueError(
                    f"dictionary must have as many columns as X has features, {X.shape[1]}; "
                    f"got shape {dictionary.shape}."
                )
            if self.n_components is not None and self.n_components != len(dictionary):
                raise ValueError(
                    f"n_components must be None or the number of atoms of the dictionary, {len(dictionary)}; "
                    f"got {self.n_components}."
                )
            zero = np.flatnonzero(~dictionary.any(axis=1))
            if len(zero):
                raise ValueError(f"dictionary must not have atoms that are zero; got zeros in rows {_listed(zero)}.")
            dictionary = dictionary.copy()
        _stopping(self.n_nonzero_coefs, self.tol, self.rtol, dictionary.T.shape)
        self.dictionary_ = dictionary
        return self

    def _check_used(self):
        for name, default in UNUSED[self.method].items():
            value = getattr(self, name)
            if value != default:
                users = " and ".join(repr(method) for method, unused in UNUSED.items() if name not in unused)
                raise ValueError(
                    f"{name} must be {default!r} where method={self.method!r}, which does not use it; got {value!r}. "
                    f"It is for method={users}."
                )

    def _draw(self, X):
        """Some rows of X, scaled to unit norm."""
        largest = abs(X).max(axis=1)
        largest = largest.toarray().ravel() if sparse.issparse(largest) else np.asarray(largest).ravel()
        usable = np.flatnonzero(largest)
        wanted = min(X.shape[1], len(usable)) if self.n_components is None else self.n_components
        if wanted > len(usable) or len(usable) == 0:
            raise ValueError(
                f"n_components must be at most the number of training rows that are not zero, {len(usable)}; "
                f"got {self.n_components}. Or give a dictionary."
            )
        rows = check_random_state(self.random_state).choice(usable, wanted, replace=False)
        atoms = X[rows].toarray() if sparse.issparse(X) else X[rows]
        # in two steps, so that no square under- or overflows
        atoms = atoms / largest[rows, None]
        return atoms / np.linalg.norm(atoms, axis=1, keepdims=True)

    @property
    def _n_features_out(self):
        return len(self.dictionary_)

    def transform(self, X):
        """Code the rows of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Signals, a row each.

        Returns
        -------
        codes : ndarray or CSR matrix of shape (n_samples, n_components)
            A code a row.

        Warns
        -----
        RuntimeWarning
            If a code has fewer atoms than asked for because the others depend on them.
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        self._check_used()
        if self.method == "omp":
            codes = self._pursue(X)
        else:
            codes = self._by_blocks(X)
        return codes if self.sparse_output or not sparse.issparse(codes) else codes.toarray()

    def _by_blocks(self, X):
        """Penalised codes, a block of signals after the other."""
        parts, fits = [], []
        for start in range(0, X.shape[0], SIGNALS):
            block = X[start : start + SIGNALS]
            if self.method == "bpdn":
                codes, fit = self._penalized(block)
                fits.append(fit)
            else:
                codes = self._thresholded(block)
            parts.append(sparse.csr_matrix(codes) if self.sparse_output else codes)
        missed = [(solutions, null) for solutions, null in fits if not solutions.converged.all()]
        if missed:
            solutions, null = max(missed, key=lambda fit: fit[0].gaps.max() / fit[1])
            warn_unless_converged([solutions], null, TOL, MAX_ITER)
        return sparse.vstack(parts, format="csr") if self.sparse_output else np.concatenate(parts)

    def _pursue(self, X):
        k, tol, rtol = _stopping(self.n_nonzero_coefs, self.tol, self.rtol, self.dictionary_.T.shape)
        prepared = Dictionary(self.dictionary_, X.dtype)
        data, indices, indptr, exhausted = prepared.pursue(X, k, tol, rtol, self.criterion == "ols", self.n_jobs)
        _warn_if_exhausted(exhausted, X.shape[0], k)
        return sparse.csr_matrix((data, indices, indptr), shape=(X.shape[0], len(self.dictionary_)))

    def _penalized(self, X):
        n, m = self.dictionary_.shape
        penalty = BlockPenalty(np.arange(n), np.arange(n + 1), np.ones(n), l1_ratio=1.0)
        signals = np.asarray(X.toarray() if sparse.issparse(X) else X, dtype=np.float64).T
        regression = Regression(np.asarray(self.dictionary_, dtype=np.float64).T, signals, np.ones(m), penalty, False)
        solutions = regression.path(1.0, np.array([float(self.alpha)]), TOL, MAX_ITER)
        return solutions.coefs_at(0).T.astype(X.dtype), (solutions, regression.null_objective)

    def _thresholded(self, X):
        largest = np.abs(self.dictionary_).max(axis=1)
        atoms = self.dictionary_ / largest[:, None]
        squares = np.einsum("ij,ij->i", atoms, atoms)
        scores = safe_sparse_dot(X, atoms.T, dense_output=True)
        bound = X.shape[1] * self.alpha / largest
        return ((scores - np.clip(scores, -bound, bound)) / squares / largest).astype(X.dtype, copy=False)

    def inverse_transform(self, X):
        """Combine the atoms by their coefficients.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        signals : ndarray of shape (n_samples, n_features)
            ``X @ dictionary_``.

        Raises
        ------
        ValueError
            If the codes have another width than there are atoms.
        """
        check_is_fitted(self)
        X = check_array(X, accept_sparse="csr", dtype=[np.float64, np.float32], input_name="X")
        if X.shape[1] != len(self.dictionary_):
            raise ValueError(
                f"X must have a column for each of the {len(self.dictionary_)} atoms; got shape {X.shape}."
            )
        return safe_sparse_dot(X, self.dictionary_, dense_output=True)


class _Problem:
    """Targets on one design, in the metric of weights that sum to one, brought to entries of at most one."""

    def __init__(self, X, Y, weights, fit_intercept):
        self.fit_intercept = fit_intercept
        self.total_weight = weights.sum()
        self.v = weights / self.total_weight
        self.design = make_design(X, self.v, fit_intercept)
        largest = np.abs(Y[weights > 0.0]).max(axis=0)
        # powers of two, so that scaling loses nothing
        self.scales = 2.0 ** np.clip(np.frexp(largest)[1], -1000, 1000).astype(np.float64)
        self.Y = Y / self.scales

    def _bounds(self, tol):
        """A tolerance for squared residuals in the units of each scaled target."""
        return tol / self.total_weight / self.scales / self.scales if tol > 0.0 else np.full(len(self.scales), tol)

    def pursue(self, k_most, tol, rtol, criterion, row_weights=None, n_jobs=None):
        """A `Pursuit` for each vector of row weights and each target."""
        vectors = [self.v] if row_weights is None else [weights / weights.sum() for weights in row_weights]
        bounds = self._bounds(tol)

        def work(some):
            targets = []
            for v in some:
                norms = column_norms(self.design, v, self.fit_intercept)
                targets += [(y, v, norms) for y in self.Y.T]
            tols = np.tile(bounds, len(some))
            return pursue_columns(self.design, targets, k_most, self.fit_intercept, criterion == "ols", tols, rtol)

        with threads(n_jobs) as (n_threads, run):
            size = -(-len(vectors) // n_threads)
            thunks = [lambda some=vectors[start : start + size]: work(some) for start in range(0, len(vectors), size)]
            found = run(thunks)
            return [trace for part in found for trace in part]

    def pursue_gram(self, k_most, tol, rtol, criterion, n_jobs):
        """Coefficients (n_features, n_targets), intercepts, numbers of steps, and how many targets were exhausted."""
        support, values, counts, exhausted = pursue_gram(
            self.design, self.Y, self.v, self.fit_intercept, k_most, self._bounds(tol), rtol, criterion == "ols", n_jobs
        )
        coef = np.zeros((self.design.shape[1], len(counts)))
        for t, k in enumerate(counts):
            coef[support[t, :k], t] = values[t, :k] * self.scales[t]
        intercept = self.scales * (self.v @ self.Y) - self.design.mean @ coef if self.fit_intercept else 0.0 * counts
        return coef, intercept, counts, exhausted

    def solution(self, t, trace, n_steps=None):
        """Coefficients of the support, and the intercept, in the units of the data."""
        values, intercept = trace.solution(n_steps)
        # the design is read shifted, so the intercept takes the shift
        intercept -= float(self.design.shift[trace.support[: len(values)]] @ values)
        return values * self.scales[t], intercept * self.scales[t]

    def heldout_errors(self, t, trace, weights, rows, n_steps):
        """Weighted mean squared errors on some rows after 1, 2, ... steps."""
        raw = self.design.columns(np.array(trace.support, dtype=np.intp), rows)
        w = weights[rows] / weights[rows].sum()
        errors = np.empty(n_steps)
        for step in range(n_steps):
            if step > 0 and step >= trace.n_steps:
                errors[step] = errors[step - 1]
                continue
            values, intercept = trace.solution(step + 1)
            residual = self.Y[rows, t] - intercept - raw[:, : len(values)] @ values
            errors[step] = w @ residual**2
        return errors * self.scales[t] ** 2


def _stopping(n_nonzero_coefs, tol, rtol, shape):
    """Largest number of steps, tol and rtol; a negative tol stops nothing."""
    if tol is not None and rtol is not None:
        raise ValueError(f"At most one of tol and rtol may be given; got tol={tol!r} and rtol={rtol!r}.")
    n_rows, n_features = shape
    if n_nonzero_coefs is not None:
        k_most = _at_most_features(n_nonzero_coefs, n_features, "n_nonzero_coefs")
    elif tol is None and rtol is None:
        k_most = max(1, n_features // 10)
    else:
        k_most = n_features
    # more would be dependent
    k_most = min(k_most, n_rows)
    if tol is None and rtol is None:
        return k_most, -1.0, 0.0
    return k_most, float(tol or 0.0), float(rtol or 0.0)


def _at_most_features(count, n_features, name):
    if count > n_features:
        raise ValueError(f"{name} must be at most the number of features (atoms), {n_features}; got {count}.")
    return int(count)


def _warn_if_exhausted(exhausted, total, k_most):
    if exhausted:
        warnings.warn(
            f"{exhausted} of {total} targets stopped before {k_most} features or the tolerance was reached: all other "
            "features depend linearly on those chosen, or are orthogonal to what is left.",
            RuntimeWarning,
            stacklevel=4,
        )


def _listed(indices):
    shown = ", ".join(str(i) for i in indices[:5])
    return shown + (", ..." if len(indices) > 5 else "")
