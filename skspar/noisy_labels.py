"""Noisy labels: which labels of a table are wrong, how surely, and how many of those flagged are right after all."""

import warnings
from functools import partial
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch, check_array, check_consistent_length, check_random_state
from sklearn.utils._tags import get_tags
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from ._engine.label_cuts import knockoff_factor, knockoff_threshold, lowest, selection
from ._engine.label_path import Entries, largest_threshold
from ._engine.row_basis import RowBasis
from ._engine.row_norm import RowNormHuber
from ._engine.threads import blas_threads, in_turn, one_blas_thread, threads
from ._label_fit import LabelFit, NoiseRate, Quality, check_objects, encoded
from ._sklearn_compat import HasMethods, Interval, StrOptions, _fit_context, _safe_indexing, validate_params
from ._weights import check_weights

# Confidence of the limits of the noise rate, and how many rates from one to the other a cut must stand.
CONFIDENCE = 0.95
N_RATES = 7
N_FOLDS = 5
# Features per row above which the leading principal components are taken: what a row contributes to its own fit hides
# its label. Each feature may matter; what a representation makes of them is plenty, and ordered by variance.
WIDEST, WIDEST_REPRESENTATION, LEAST_COMPONENTS = 1.0 / 5.0, 1.0 / 20.0, 10
# Of sparse X wider than that, so many components at most: their matrix is dense.
SPARSE_COMPONENTS = 200
# Weights of a larger sum leave nothing but rounding of a likelihood that changes by ones.
LEAST_COUNTED, MOST_COUNTED = 1e-9, 1e13
# Spacing of the logarithms of alphas that lead to a grid which begins where rows are flagged, and how many at most.
LEAD, MOST_LEADING = 0.135, 120
# Rows up to which entries of a path are found to EXACT, relatively; above to COARSE.
EXACT_ROWS, EXACT, COARSE = 1000, 1e-7, 1e-3


@validate_params(
    {
        "X": ["array-like"],
        "y": ["array-like"],
        "alphas": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "eps": [Interval(Real, 0, 1, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def label_noise_path(X, y, *, alphas=30, eps=0.02, sample_weight=None, max_iter=100, tol=1e-9):
    """Compute the row-sparse path of the label noise.

    Y is the one-hot code of y. For each alpha of a grid, minimise over the intercept b0, the coefficients B and the
    indicator Gamma, whose nonzero rows are doubtful labels,

        (1/2) sum_i s_i ||Y_i - b0 - B'x_i - Gamma_i||^2 + alpha sum_i s_i ||Gamma_i||.

    Without b0 and B, which are projected out, it is the multi-task Lasso of ``(I - H) Y`` on ``I - H``, H the hat
    matrix of [1, X]; this n x n matrix is never formed. Row i is nonzero where its residual is longer than alpha.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Features.
    y : array-like of shape (n_samples,) or (n_samples, n_responses)
        Labels; or numbers in several columns, then these are Y.
    alphas : int or array-like of float, default=30
        Penalties, in units of Y, or the length of a geometric grid from where no row is flagged.
    eps : float, default=0.02
        Smallest alpha of the grid divided by the largest.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights s_i >= 0; rows of weight zero are as if absent, their entries and indicators zero.
    max_iter : int, default=100
        Largest number of Newton steps for an alpha.
    tol : float, default=1e-9
        Bound on the duality gap divided by the objective of a fit of the mean.

    Returns
    -------
    path : Bunch
        With the fields

        - ``alphas``, ndarray of shape (n_alphas,): penalties, decreasing;
        - ``gamma_norms``, CSC array of shape (n_samples, n_alphas): lengths ``||Gamma_i||``; what is stored is flagged.
          ``Gamma_i`` is the residual of row i shortened by alpha;
        - ``coefs``, ndarray of shape (n_responses, n_features, n_alphas), and ``intercepts``, ndarray of shape
          (n_responses, n_alphas);
        - ``entry_alphas``, ndarray of shape (n_samples,): the largest alpha at which a row is flagged, between points
          of the grid too (to 1e-7, relatively, for up to 1,000 rows, else to 1e-3); for rows that the grid's end does
          not flag, the length of their residual there;
        - ``dual_gaps``, ndarray of shape (n_alphas,): divided by the sum of the weights, in units of Y squared;
        - ``n_iters``, ndarray of shape (n_alphas,);
        - ``classes``, ndarray of shape (n_responses,): what the columns of Y stand for, None if Y was given.

    Raises
    ------
    ValueError
        If a parameter is out of its range, y has one class only, or X has as many independent columns as rows.

    See Also
    --------
    NoisyLabelDetector : Decides which labels are wrong.
    OutlierPathDisplay : Draws the path.

    References
    ----------
    .. [1] Wang, Xu, Liu, Zhang & Fu (2020), "Instance credibility inference for few-shot learning", CVPR, equation 4.
    .. [2] She & Owen (2011), "Outlier detection using nonconvex penalized regression", Journal of the American
       Statistical Association 106, 626-639.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skspar import label_noise_path
    >>> X, y = load_iris(return_X_y=True)
    >>> y[[10, 120]] = [2, 0]
    >>> path = label_noise_path(X, y)
    >>> sorted(path.entry_alphas.argsort()[-2:].tolist())
    [10, 120]
    """
    grid = alphas
    if not isinstance(alphas, Integral):
        grid = check_array(alphas, ensure_2d=False, dtype=np.float64, input_name="alphas")
        if grid.ndim != 1 or not np.all(grid > 0.0):
            raise ValueError(f"alphas must be positive numbers in one dimension; got {alphas!r}.")
        grid = np.sort(grid)[::-1]
    X = check_array(X, dtype=[np.float64, np.float32], input_name="X")
    check_consistent_length(X, y)
    Y, classes = _responses(y)
    weights = check_weights(sample_weight, X)
    present = np.flatnonzero(weights > 0.0)
    n = len(X)
    rows = (X, Y, weights) if len(present) == n else (X[present], Y[present], weights[present])
    basis = RowBasis(rows[0], rows[2], True)
    if basis.rank >= len(present):
        raise ValueError(
            f"X has {basis.rank} independent columns, with the constant, of {len(present)} rows: any labels fit "
            "exactly. Reduce X first, for example to its leading principal components."
        )
    if classes is not None and np.count_nonzero(rows[1].any(axis=0)) < 2:
        raise ValueError("y must have at least two classes among the rows of positive sample_weight; got one.")
    # shifts of Y leave rounding errors otherwise, of constant ones too; and squares of its unit may overflow
    left = rows[1] - rows[1][0]
    mean = (rows[2] / rows[2].sum()) @ left
    left -= mean
    shift = rows[1][0] + mean
    unit = float(2.0 ** np.round(np.log2(np.abs(left).max()))) if left.any() else 1.0
    problem = RowNormHuber(basis.Q, left / unit, rows[2])
    top = largest_threshold(problem)
    if isinstance(alphas, Integral):
        top = top or 1.0
        grid = np.geomspace(top, eps * top, alphas) if alphas > 1 else np.array([top])
    else:
        grid = grid / unit
    leading = _leading(top, grid[0])
    entries = Entries(problem, EXACT if len(present) <= EXACT_ROWS else COARSE)
    coefs, intercepts = np.empty((Y.shape[1], X.shape[1], len(grid))), np.empty((Y.shape[1], len(grid)))
    gaps, n_iters, columns, missed = np.empty(len(grid)), np.empty(len(grid), dtype=int), [], []
    for k, fit in enumerate(problem.path(np.append(leading, grid), tol, max_iter), -len(leading)):
        entries.add(fit)
        if k < 0:
            continue
        for j in range(Y.shape[1]):
            coefs[j, :, k], intercepts[j, k] = basis.coefficients(fit.coef[:, j])
        gaps[k], n_iters[k] = float(fit.gap) / float(rows[2].sum()) * unit * unit, fit.n_iter
        excess = np.maximum(fit.norms - fit.threshold, 0.0)
        columns.append(excess)
        if not fit.converged:
            missed.append(fit.gap / problem.null)
    if missed:
        _warn_not_converged(len(missed), len(grid), max(missed), tol)
    entry_alphas, norms = np.zeros(n), np.zeros((n, len(grid)))
    entry_alphas[present] = entries.finish() * unit
    norms[present] = np.column_stack(columns) * unit
    coefs *= unit
    intercepts = intercepts * unit + shift[:, None]
    return Bunch(
        alphas=grid * unit,
        gamma_norms=sparse.csc_array(norms),
        coefs=coefs,
        intercepts=intercepts,
        entry_alphas=entry_alphas,
        dual_gaps=gaps,
        n_iters=n_iters,
        classes=classes,
    )


def _leading(top, first):
    """Alphas from where no row is flagged down to the first of a grid, without that: rows enter on the way."""
    if not 0.0 < first < top:
        return np.empty(0)
    steps = min(int(np.ceil(np.log(top / first) / LEAD)), MOST_LEADING)
    return np.geomspace(top, first, steps + 1)[:-1]


def _warn_not_converged(n_missed, n_alphas, gap, tol):
    warnings.warn(
        f"{n_missed} of {n_alphas} alphas reached a relative duality gap of {gap:.1e} at worst, not {tol:.1e}; "
        "raise max_iter or tol.",
        ConvergenceWarning,
        stacklevel=3,
    )


def _responses(y):
    """One-hot code and classes of labels, or given responses and None."""
    if np.ndim(y) == 2 and np.shape(y)[1] > 1:
        return check_array(y, dtype=np.float64, input_name="y"), None
    classes, labels = encoded(column_or_1d(y))
    if len(classes) < 2:
        raise ValueError(f"y must have at least two classes; got one, {classes[0]!r}.")
    return np.eye(len(classes))[labels], classes


class _Found(NamedTuple):
    """What fits say of rows: the classes' posterior, the label's credibility, its entry, whether it is right.

    ``scores`` hold how credible each label were, where a cut asks for it.
    """

    posterior: np.ndarray
    credibility: np.ndarray | None
    entries: np.ndarray | None
    right: np.ndarray
    noise: NoiseRate
    scores: np.ndarray | None


class NoisyLabelDetector(BaseEstimator):
    """Find the labels of a table that are wrong.

    Two answers are given. The row-sparse path of Gamma in

        (1/2) sum_i s_i ||Y_i - b0 - B'x_i - Gamma_i||^2 + alpha sum_i s_i ||Gamma_i||,

    Y the one-hot code of y, ranks rows by the alpha at which they enter (`label_noise_path`). A row's part in the loss,
    once it has entered, still grows with the distance; many wrong labels, or many of one kind, can so hide each other.
    A redescending loss bounds it: minus the logarithm of

        P(y_i | x_i) = sum_c p_c(x_i) T[c, y_i],    p(x) = softmax(a f + b + D'f),    f = b0 + B'x,

    with T the probabilities that a row of class c is labelled otherwise. B is the least-squares fit of the posterior
    ``P(class | x_i, y_i)``, and a, b, D, T maximise the likelihood, with a ridge penalty on D; the penalty is chosen,
    or mixed, by the leave-one-out likelihood, and so is the start. T is shrunk to what classes have in common, as far
    as they do (empirical Bayes). The credibility of a label is the posterior of its own class, a third by this model,
    two thirds by one that believes all labels: its B is fitted to the labels as they are, a twentieth of each class is
    wrong and falls where this T says. Either fit includes the row, its own label believed. Quality has the values of
    the posteriors, dealt out in the order of credibility.

    Parameters
    ----------
    representation : transformer, default=None
        Maps X to what labels depend on linearly: for instance PCA, Nystroem, RandomTreesEmbedding, an embedding. Of
        its output the leading principal components are taken, a twentieth as many as rows (but 10, where that is
        less than a fifth), where there are more. None takes the features; should there be more than a fifth as many
        as rows, so many components (of sparse X 200 at most).
    cut : {'fdr', 'fsr', 'knockoff', 'fraction', 'threshold'}, default='fdr'
        What is flagged. 'fdr': the most rows of which in expectation a share of at most ``level`` has a right label
        (assuming the model above; Bayesian false discovery rate, with the noise rate at its lower 95 % confidence
        limit). 'fsr': all but rows of which a share of at most ``level`` has a wrong label in expectation (assuming
        that labels depend on the class only, as T says, the noise rate being between its 95 % confidence limits; p may
        be wrong). 'knockoff': the same (assuming instead that wrong labels are uniform over the wrong classes, wherever
        they are; knockoff labels, which keep little where many labels are wrong or ``level`` is low). 'fraction': the
        share ``level`` of rows with the lowest quality. 'threshold': rows of a quality below ``level``.
    level : float, default=0.1
        Strictly between 0 and 1; ``cut`` says of what.
    penalty : {'redescending', 'l1'}, default='redescending'
        What quality is: as above, or ``1 / (1 + entry_alpha_)``.
    standardize : bool, default=True
        Whether features are centred and scaled to unit variance (sparse X only scaled) before the representation or
        the components.
    class_balanced : bool, default=False
        Whether classes have equal weight in least squares. Where sizes differ by an order of magnitude and classes
        overlap, the small ones then attract rows that are not theirs.
    out_of_fold : bool, default=False
        Whether quality comes from fits that have not seen the row, in five folds, the representation included. Needed
        for representations that use y.
    random_state : int, RandomState instance or None, default=None
        Determines folds, knockoff labels, halves, and of more than 20,000 rows those which choose the model.
    n_jobs : int, default=None
        Jobs over folds, see `joblib.Parallel`; without ``out_of_fold`` threads over the models of which the best are
        taken, with None as many as BLAS may use.

    Attributes
    ----------
    label_quality_ : ndarray of shape (n_samples,)
        From 0 (surely wrong) to 1 (surely right).
    label_issues_mask_ : ndarray of bool of shape (n_samples,)
        Which labels are flagged as wrong.
    entry_alpha_ : ndarray of shape (n_samples,)
        The largest alpha at which the path flags a row, in units of the one-hot code. With
        ``penalty="redescending"`` the path is followed when this is first asked for.
    suggested_labels_ : ndarray of shape (n_samples,)
        The class of largest posterior, given features and label.
    classes_ : ndarray of shape (n_classes,)
        Labels.
    n_flagged_per_class_ : ndarray of shape (n_classes,)
        How many rows of each label are flagged.
    threshold_ : float
        Largest quality of a flagged row allowed; minus infinity where no row may be flagged. NaN for 'fsr' and
        'knockoff', which look at other labels of a row, too.
    fdr_estimate_ : float
        Estimated share of right labels among those flagged, with the noise rate at its lower limit; 0 if none is.
    noise_rate_ : float
        Estimated share of wrong labels.
    noise_rate_lower_ : float
        Lower 95 % confidence limit of that, from the profile of the likelihood: the fits, the relative rates of classes
        and where wrong labels fall being held, it is too high at times where these differ much between classes.
    noise_rate_upper_ : float
        Upper 95 % confidence limit, likewise.
    noise_matrix_ : ndarray of shape (n_classes, n_classes)
        T of the likeliest model: row c holds the probabilities of the labels of class c.
    valid_cut_ : bool
        Whether some cut keeps the error rate asked for; if not, nothing is flagged, and a warning says so. True
        for 'fraction' and 'threshold', which promise none.
    representation_ : transformer or None
        What was fitted to X, scaler and components included; a list of them, one for each fold, with ``out_of_fold``.
        None where features are taken as they are: least squares does not depend on their units.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during fit, where all are strings.

    See Also
    --------
    label_noise_path : The path.
    CleanLabelClassifier : Trains on what is not flagged.

    Notes
    -----
    Where labels are all right, an error rate among flagged rows is kept only by flagging nothing. The lower confidence
    limit of the noise rate is zero with probability 0.95 then; how many labels of hard rows look wrong is no evidence,
    if they become rarer with the distance from the boundary as in a logistic model.

    References
    ----------
    .. [1] Wang, Xu, Liu, Zhang & Fu (2020), "Instance credibility inference for few-shot learning", CVPR.
    .. [2] Bootkrajang & Kaban (2012), "Label-noise robust logistic regression and its applications", ECML PKDD.
    .. [3] Wang, Fu & Sun (2024), "Knockoffs-SPR: clean sample selection in learning with noisy labels", IEEE
       Transactions on Pattern Analysis and Machine Intelligence 46, 3242-3256.
    .. [4] Hastie, Tibshirani & Buja (1994), "Flexible discriminant analysis by optimal scoring", Journal of the
       American Statistical Association 89, 1255-1270.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skspar import NoisyLabelDetector
    >>> from skspar.datasets import make_label_noise
    >>> X, y = load_digits(return_X_y=True)
    >>> noisy, is_wrong = make_label_noise(y, rate=0.1, random_state=0)
    >>> detector = NoisyLabelDetector().fit(X, noisy)
    >>> found = detector.label_issues_mask_
    >>> bool((found & ~is_wrong).sum() / found.sum() < 0.1), bool((found & is_wrong).sum() / is_wrong.sum() > 0.8)
    (True, True)
    """

    _parameter_constraints: dict = {
        "representation": [None, HasMethods(["fit", "transform"])],
        "cut": [StrOptions({"fdr", "fsr", "knockoff", "fraction", "threshold"})],
        "level": [Interval(Real, 0, 1, closed="neither")],
        "penalty": [StrOptions({"redescending", "l1"})],
        "standardize": ["boolean"],
        "class_balanced": ["boolean"],
        "out_of_fold": ["boolean"],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        representation=None,
        *,
        cut="fdr",
        level=0.1,
        penalty="redescending",
        standardize=True,
        class_balanced=False,
        out_of_fold=False,
        random_state=None,
        n_jobs=None,
    ):
        self.representation = representation
        self.cut = cut
        self.level = level
        self.penalty = penalty
        self.standardize = standardize
        self.class_balanced = class_balanced
        self.out_of_fold = out_of_fold
        self.random_state = random_state
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Judge labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features, or whatever the representation takes.
        y : array-like of shape (n_samples,)
            Labels: at least two classes, of two rows each.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, which count rows (weights that sum to one say that there is one row); those of weight zero are
            judged by the others. A representation is fitted without them, to the rows of positive weight.

        Returns
        -------
        self : NoisyLabelDetector
            The fitted detector.
        """
        X, y = self._validated(X, y, reset=True)
        weights = check_weights(sample_weight, np.empty((len(y), 1)))
        if not LEAST_COUNTED <= weights.sum() <= MOST_COUNTED:
            raise ValueError(
                f"sample_weight must count rows and have a sum between {LEAST_COUNTED:.0e} and {MOST_COUNTED:.0e}; got "
                f"{weights.sum():.1e}."
            )
        present = weights > 0.0
        self.classes_, labels = encoded(y)
        self._check_classes(labels, present, weights)
        rng = check_random_state(self.random_state)
        n_threads = blas_threads() if self.n_jobs is None else self.n_jobs
        # the many small products only wait for each other's threads
        with one_blas_thread:
            if self.out_of_fold:
                found = self._fit_folds(X, labels, weights, rng)
            else:
                found = self._fit_all(X, labels, weights, rng, n_threads)
            self._entries, right = found.entries, found.right
            if self.penalty == "redescending":
                own = found.posterior[np.arange(len(labels)), labels]
                self._quality = Quality(found.credibility[present], own[present], weights[present])
                self.label_quality_ = self._quality(found.credibility)
            else:
                self.label_quality_ = _entry_quality(found.entries)
            self.suggested_labels_ = self.classes_[np.argmax(found.posterior, axis=1)]
            self.noise_rate_, self.noise_rate_lower_ = found.noise.likeliest, found.noise.lower
            self.noise_rate_upper_ = found.noise.upper
            self._cut(X, labels, weights, found, rng)
        flagged = self.label_issues_mask_
        self.n_flagged_per_class_ = np.bincount(labels[flagged], minlength=len(self.classes_))
        total = float(weights[flagged].sum())
        self.fdr_estimate_ = float(weights[flagged] @ right[flagged]) / total if total > 0.0 else 0.0
        return self

    # --- input

    def _validated(self, X, y, reset):
        if y is None:
            raise ValueError("This NoisyLabelDetector estimator requires y to be passed, but the target y is None.")
        check_objects(y)
        if self.representation is None:
            X, y = validate_data(
                self,
                X,
                y,
                reset=reset,
                accept_sparse="csr",
                dtype=[np.float64, np.float32],
                ensure_min_samples=2 if reset else 1,
            )
            if reset:
                self._fitted_sparse = sparse.issparse(X)
            elif sparse.issparse(X) and not self._fitted_sparse:
                X = X.toarray()
        else:
            # the representation says what it takes
            X, y = validate_data(self, X, y, reset=reset, skip_check_array=True)
            y = column_or_1d(y, warn=True)
            check_consistent_length(X, y)
        return X, y

    def _check_classes(self, labels, present, weights):
        if len(self.classes_) < 2:
            raise ValueError(f"y must have at least two classes; got one class, {self.classes_[0]!r}.")
        sizes = np.bincount(labels[present], minlength=len(self.classes_))
        # a weight of two is two rows
        counted = np.maximum(sizes, np.bincount(labels, weights, minlength=len(self.classes_)))
        if counted.min() < 2.0:
            c = int(np.argmin(counted))
            label = self.classes_[c : c + 1].tolist()[0]
            raise ValueError(
                f"y must have at least two rows of each class (with positive sample_weight); class "
                f"{label!r} has {sizes[c]}. With a single one, no other row tells what the class looks like."
            )

    def _steps(self, X, y, weights):
        """Scaler, representation and components, fitted; and what they make of X."""
        steps, Z = [], X
        n = float(weights.sum())
        widest = max(1, int(WIDEST * n))
        # least squares on all features does not depend on their units
        if self.standardize and (self.representation is not None or X.shape[1] > widest):
            self._check_numbers(X)
            scaler = StandardScaler(with_mean=not sparse.issparse(X))
            container = type(X).__module__.partition(".")[0]
            # the representation may know columns by name
            scaler.set_output(transform=container if container in ("pandas", "polars") else "default")
            # equal weights are none, which takes half the time
            scaler.fit(X, sample_weight=None if np.all(weights == weights[0]) else weights)
            steps, Z = [("scaler", scaler)], scaler.transform(X)
        if self.representation is not None:
            representation = clone(self.representation)
            fitted = hasattr(representation, "fit_transform")
            Z = representation.fit_transform(Z, y) if fitted else representation.fit(Z, y).transform(Z)
            steps.append(("representation", representation))
        self._check_rows(Z, len(y))
        Z = _numbers(Z)
        if self.representation is not None:
            widest = min(widest, max(int(WIDEST_REPRESENTATION * n), LEAST_COMPONENTS))
        if Z.shape[1] > widest:
            reduce = _components(Z, weights, widest)
            Z = reduce.transform(Z)
            steps.append(("components", reduce))
        return Pipeline(steps) if steps else None, _dense(Z)

    def _check_numbers(self, X):
        """Of a representation's input, which is not validated otherwise."""
        if self.representation is None:
            return
        try:
            check_array(
                _safe_indexing(X, [0]), accept_sparse=True, ensure_all_finite=False, dtype=[np.float64, np.float32]
            )
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"standardize=True needs rows of numbers: {error}. Choose standardize=False; the representation may "
                "scale columns of numbers itself, for example in a ColumnTransformer."
            ) from error

    def _check_rows(self, Z, n):
        shape = np.shape(Z)
        if len(shape) != 2 or shape[0] != n:
            raise ValueError(
                f"representation must map {n} rows to an array of {n} rows and two dimensions; "
                f"{type(self.representation).__name__} returned shape {shape}."
            )

    def _transformed(self, pipeline, X):
        Z = X if pipeline is None else pipeline.transform(X)
        self._check_rows(Z, _n_rows(X))
        return _dense(Z)

    # --- fits

    def _label_fit(self, Z, labels, weights, rng, run_all=in_turn):
        return LabelFit(Z, labels, len(self.classes_), weights, self.class_balanced, rng, run_all)

    def _fit_all(self, X, labels, weights, rng, n_jobs):
        present = np.flatnonzero(weights > 0.0)
        everything = len(present) == len(labels)
        part = X if everything else _safe_indexing(X, present)
        self.representation_, Z = self._steps(part, self.classes_[labels[present]], weights[present])
        with threads(n_jobs) as (_, run_all):
            fit = self._fitted = self._label_fit(Z, labels[present], weights[present], rng, run_all)
            rows, model = fit.rows, fit.mixture.best
            noise, credibility = run_all(
                [
                    lambda: NoiseRate(model, fit.fits_without_own(), rows.labels, rows.counts, CONFIDENCE, rng),
                    lambda: fit.credibility() if self.penalty == "redescending" else None,
                ]
            )
        self.noise_matrix_ = model.transition
        posterior, scores = fit.posterior(), self._scores(X, labels, weights, rng, n_jobs)
        if everything:
            # nothing else needs the path of a redescending penalty: it is followed when `entry_alpha_` is asked for
            entries = fit.entries if self.penalty == "l1" else None
            return _Found(posterior, credibility, entries, noise.right, noise, scores)
        absent = np.flatnonzero(weights == 0.0)
        Z, given = self._transformed(self.representation_, _safe_indexing(X, absent)), labels[absent]
        others = fit.posterior_of(Z, given)
        own = others[np.arange(len(absent)), given]
        of_others = None if credibility is None else fit.credibility_of(Z, given)

        def whole(there, here):
            if there is None:
                return None
            out = np.empty((len(labels), *there.shape[1:]))
            out[present], out[absent] = there, here
            return out

        return _Found(
            whole(posterior, others),
            whole(credibility, of_others),
            whole(fit.entries, fit.entries_of(Z, given)),
            whole(noise.right, own),
            noise,
            scores,
        )

    def _in_folds(self, X, labels, weights, rng, run_all, judge):
        """Rows of each fold, with what a fit to the others says of them; those of no weight belong to the first."""
        present = np.flatnonzero(weights > 0.0)
        sizes = np.bincount(labels[present])
        n_folds = int(max(2, min(N_FOLDS, sizes.min())))
        splitter = StratifiedKFold(n_folds, shuffle=True, random_state=rng)
        folds = [test for _, test in splitter.split(present, labels[present])]
        held_out = [present[test] for test in folds]
        absent = np.flatnonzero(weights == 0.0)
        if len(absent):
            held_out[0] = np.append(held_out[0], absent)
        seeds = rng.randint(np.iinfo(np.int32).max, size=n_folds)

        def one(test, seed):
            train = np.setdiff1d(present, test)
            if self.out_of_fold:
                pipeline, Z = self._steps(_safe_indexing(X, train), self.classes_[labels[train]], weights[train])
            else:
                pipeline = self.representation_
                Z = self._transformed(pipeline, _safe_indexing(X, train))
            fit = self._label_fit(Z, labels[train], weights[train], check_random_state(int(seed)))
            return pipeline, fit, judge(fit, self._transformed(pipeline, _safe_indexing(X, test)), labels[test])

        found = run_all([partial(one, test, seed) for test, seed in zip(held_out, seeds, strict=True)])
        return held_out, *zip(*found, strict=True)

    def _fit_folds(self, X, labels, weights, rng):
        def judge(fit, Z, given):
            return fit.posterior_of(Z, given), fit.entries_of(Z, given), fit.fits_of(Z), fit.scores(Z), Z

        def run_all(thunks):
            return Parallel(n_jobs=self.n_jobs)(delayed(thunk)() for thunk in thunks)

        held_out, pipelines, fits, judged = self._in_folds(X, labels, weights, rng, run_all, judge)
        present, entries = np.flatnonzero(weights > 0.0), np.empty(len(labels))
        posterior, F, scores = (np.empty((len(labels), len(self.classes_))) for _ in range(3))
        for test, (part, entry, fitted, score, _) in zip(held_out, judged, strict=True):
            posterior[test], entries[test], F[test], scores[test] = part, entry, fitted, score
        self.representation_, self._fitted = list(pipelines), list(fits)
        models = [fit.mixture.best for fit in fits]
        mean = type(models[0])(**{**vars(models[0]), "posterior": None, "targets": None})
        mean.transition = np.mean([model.transition for model in models], axis=0)
        mean.rate = float(np.mean([model.rate for model in models]))
        noise = NoiseRate(mean, F[present], labels[present], weights[present], CONFIDENCE, rng)
        self.noise_matrix_ = mean.transition
        right = posterior[np.arange(len(labels)), labels].copy()
        right[present] = noise.right
        # each fold's own model trusts fits that its rows took part in; this one saw those that the rows had no part in
        posterior[present] = noise.posterior
        settled, credibility = posterior[np.arange(len(labels)), labels], None
        if self.penalty == "redescending":
            credibility = np.empty(len(labels))
            for test, fit, (*_, Z) in zip(held_out, fits, judged, strict=True):
                credibility[test] = fit.credibility_of(Z, labels[test], settled[test])
        return _Found(posterior, credibility, entries, right, noise, scores)

    def _scores(self, X, labels, weights, rng, n_jobs):
        """How credible each label were in each row, by fits that have not seen the row, for a cut that asks for it."""
        if self.cut != "fsr":
            return None
        with threads(n_jobs) as (_, run_all):
            held_out, _, _, judged = self._in_folds(
                X, labels, weights, rng, run_all, lambda fit, Z, given: fit.scores(Z)
            )
        scores = np.empty((len(labels), len(self.classes_)))
        for test, part in zip(held_out, judged, strict=True):
            scores[test] = part
        return scores

    # --- cuts

    def _cut(self, X, labels, weights, found, rng):
        quality, n = self.label_quality_, len(self.label_quality_)
        self.valid_cut_ = True
        if self.cut == "threshold":
            self.threshold_ = float(self.level)
            self.label_issues_mask_ = quality < self.level
        elif self.cut == "fraction":
            order = np.argsort(quality, kind="stable")
            within = np.cumsum(weights[order]) <= self.level * weights.sum() * (1.0 + 1e-12)
            mask = np.zeros(n, dtype=bool)
            mask[order[within]] = True
            self.threshold_ = float(quality[mask].max()) if mask.any() else -np.inf
            self.label_issues_mask_ = mask
        elif self.cut == "fdr":
            if self.noise_rate_lower_ > 0.0:
                counts = np.where(weights > 0.0, weights, 1e-12 * weights[weights > 0.0].min())
                self.label_issues_mask_, self.threshold_ = lowest(quality, found.right, counts, self.level)
            else:
                self.label_issues_mask_, self.threshold_ = np.zeros(n, dtype=bool), -np.inf
            if not self.label_issues_mask_.any():
                self._no_cut(
                    f"no rows could be flagged of which a share of at most {self.level} has a right label: the noise "
                    f"rate is estimated as {self.noise_rate_:.3f}, with a lower limit of {self.noise_rate_lower_:.3f}"
                )
        else:
            self.threshold_ = np.nan
            if self.cut == "fsr":
                kept = self._selected(labels, weights, found)
                why = (
                    f", whatever the noise rate between {found.noise.lower:.3f} and {found.noise.upper:.3f}; a larger "
                    "level, or more rows, may help"
                )
            else:
                kept = self._knockoff_kept(X, labels, weights, rng)
                why = f"; a larger level, or more rows (at least {self._least_rows()} are needed), may help"
            self.label_issues_mask_ = np.zeros(n, dtype=bool) if kept is None else ~kept
            if kept is None:
                self._no_cut(f"no rows could be kept of which a share of at most {self.level} has a wrong label{why}")

    def _least_rows(self):
        """Rows of which two halves can keep any."""
        return 2 * int(np.ceil(knockoff_factor(len(self.classes_)) / self.level))

    def _no_cut(self, why):
        self.valid_cut_ = False
        warnings.warn(f"No label is flagged: {why}.", UserWarning, stacklevel=5)

    def _selected(self, labels, weights, found):
        """Rows to keep: few wrong labels among them at any noise rate within the limits; None if no cut is."""
        present = weights > 0.0
        transitions = found.noise.transitions(N_RATES)
        t = selection(found.scores[present], labels[present], weights[present], transitions, self.level)
        return found.scores[np.arange(len(labels)), labels] >= t if np.isfinite(t) else None

    def _knockoff_kept(self, X, labels, weights, rng):
        """Rows to keep: given labels against random ones in a half after fitting the other; None if no cut is."""
        present = np.flatnonzero(weights > 0.0)
        C = len(self.classes_)
        halves = np.zeros(len(labels), dtype=int)
        for c in range(C):
            members = rng.permutation(present[labels[present] == c])
            halves[members[len(members) // 2 :]] = 1
        kept, without = np.ones(len(labels), dtype=bool), []
        # labels of rows that are as if absent come from a stream of their own
        absent, shift = np.flatnonzero(weights == 0.0), np.empty(len(labels), dtype=np.intp)
        shift[present] = rng.randint(1, C, size=len(present))
        shift[absent] = check_random_state(rng.randint(np.iinfo(np.int32).max)).randint(1, C, size=len(absent))
        for half in (0, 1):
            train = present[halves[present] != half]
            test = np.flatnonzero((halves == half) | (weights == 0.0)) if half == 0 else present[halves[present] == 1]
            if self.out_of_fold:
                pipeline, Z = self._steps(_safe_indexing(X, train), self.classes_[labels[train]], weights[train])
            else:
                pipeline = self.representation_
                Z = self._transformed(pipeline, _safe_indexing(X, train))
            fit = self._label_fit(Z, labels[train], weights[train], rng)
            P = fit.probabilities(self._transformed(pipeline, _safe_indexing(X, test)))
            given = labels[test]
            random = (given + shift[test]) % C
            own = np.arange(len(test))
            W = P[own, given] - P[own, random]
            t = knockoff_threshold(W, weights[test], self.level, C)
            kept[test] = t <= W
            if np.isinf(t):
                without.append(len(test))
        if len(without) == 1:
            warnings.warn(
                f"no row could be kept in one of the halves, all {without[0]} rows of which are flagged; a larger "
                "level, or more rows, may help.",
                UserWarning,
                stacklevel=4,
            )
        return kept if len(without) < 2 else None

    # --- after the fit

    @property
    def entry_alpha_(self):
        """The largest alpha at which the path flags a row, in units of the one-hot code.

        Returns
        -------
        entry_alpha : ndarray of shape (n_samples,)
            With ``penalty="redescending"`` the path is followed when this is first asked for.
        """
        check_is_fitted(self, "_fitted")
        if self._entries is None:
            with one_blas_thread:
                self._entries = self._fitted.entries
        return self._entries

    def score_labels(self, X, y):
        """Quality of the labels of rows, of any that were not fitted, too.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,)
            Labels, among ``classes_``.

        Returns
        -------
        quality : ndarray of shape (n_samples,)
            From 0 (surely wrong) to 1 (surely right), by the fitted models, as if the row, its label believed, had
            had a part in their fits: one that had has it twice here, and mostly more than its ``label_quality_``.
            With ``out_of_fold``, by the folds' models on the mean. ``threshold_`` keeps its promise for the fitted rows
            only.
        """
        check_is_fitted(self)
        X, y = self._validated(X, y, reset=False)
        unknown = ~np.isin(y, self.classes_)
        if unknown.any():
            raise ValueError(
                f"y must be among the classes seen in fit, {self.classes_.tolist()}; got "
                f"{np.unique(np.asarray(y)[unknown]).tolist()}."
            )
        labels = np.searchsorted(self.classes_, y).astype(np.intp)
        total = 0.0
        fits = self._fitted if self.out_of_fold else [self._fitted]
        pipelines = self.representation_ if self.out_of_fold else [self.representation_]
        for fit, pipeline in zip(fits, pipelines, strict=True):
            Z = self._transformed(pipeline, X)
            if self.penalty == "redescending":
                total = total + fit.credibility_of(Z, labels)
            else:
                total = total + _entry_quality(fit.entries_of(Z, labels))
        mean = total / len(fits)
        return self._quality(mean) if self.penalty == "redescending" else mean

    def fit_resample(self, X, y, sample_weight=None):
        """Judge labels and return the rows that are not flagged.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights.

        Returns
        -------
        X_kept : {array-like, sparse matrix} of shape (n_kept, n_features)
            Rows of X, of its type.
        y_kept : array-like of shape (n_kept,)
            Their labels.
        """
        self.fit(X, y, sample_weight)
        kept = np.flatnonzero(~self.label_issues_mask_)
        if isinstance(X, list):
            X = np.asarray(X)
        if isinstance(y, list):
            y = np.asarray(y)
        return _safe_indexing(X, kept), _safe_indexing(y, kept)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.sparse = True
        if self.representation is not None:
            inner = get_tags(self.representation).input_tags
            tags.input_tags.sparse = inner.sparse
            tags.input_tags.allow_nan = inner.allow_nan
        return tags


def _entry_quality(entries):
    return 1.0 / (1.0 + entries)


def _numbers(Z):
    return check_array(Z, accept_sparse="csr", dtype=[np.float64, np.float32], input_name="representation(X)")


def _components(Z, weights, n_components):
    """Leading principal components, of sparse Z without centring, with weights that count rows."""
    if sparse.issparse(Z):
        most = max(1, min(n_components, SPARSE_COMPONENTS, Z.shape[1] - 1))
        reduce = TruncatedSVD(most, random_state=0).set_output(transform="default")
        return reduce.fit(sparse.diags_array(np.sqrt(weights)) @ Z)
    reduce = PCA(min(n_components, *Z.shape), svd_solver="full").set_output(transform="default")
    if np.ptp(weights) == 0.0:
        return reduce.fit(Z)
    mean = np.average(Z, axis=0, weights=weights)
    rows = np.sqrt(weights)[:, None] * (Z - mean)
    # with their negatives, weighted rows have mean zero, which PCA would take off
    reduce.fit(np.vstack([rows, -rows]))
    reduce.mean_ = mean
    return reduce


def _dense(Z):
    return _numbers(Z.toarray() if sparse.issparse(Z) else np.asarray(Z))


def _n_rows(X):
    return X.shape[0] if hasattr(X, "shape") else len(X)
