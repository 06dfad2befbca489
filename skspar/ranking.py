"""Robust ranking of items from pairwise comparisons, some of which are wrong or malicious."""

import warnings
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from scipy.stats import kendalltau, norm
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch, check_array, check_consistent_length
from sklearn.utils.validation import check_is_fitted, validate_data

from ._engine.comparison_path import Comparisons, GroupedComparisons, follow, solve
from ._engine.comparison_pruning import Pruned, choose, covariance, cut_for_share, prune, stays_connected
from ._engine.comparisons import DENSE_LIMIT, Parametrization, merge
from ._engine.threads import one_blas_thread
from ._items import encode, named, universe
from ._sklearn_compat import Interval, StrOptions, _check_sample_weight, _fit_context, validate_params
from ._weights import check_weights

# Accuracy of first entries, relative.
ENTRY_TOL = 1e-3

COMMON_CONSTRAINTS = {
    # any kind of object may be meant; _items says what is wrong with it
    "items": "no_validation",
    "item_features": "no_validation",
    "fit_position_bias": ["boolean"],
    "annotator_effects": [StrOptions({"group"}), None],
}


@validate_params(
    COMMON_CONSTRAINTS
    | {
        "alphas": [Interval(Integral, 1, None, closed="left"), "array-like", None],
        "tol": [Interval(Real, 0, 1, closed="neither")],
        "return_outliers": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def pairwise_outlier_path(
    X,
    y,
    *,
    items=None,
    item_features=None,
    fit_position_bias=False,
    sample_weight=None,
    annotators=None,
    annotator_effects=None,
    alphas=None,
    tol=1e-3,
    return_outliers=False,
):
    """Compute the order in which comparisons turn out to be outliers.

    Comparison k of the items i and j has the margin ``y_k = s_i - s_j + bias + gamma_k + noise`` with the
    scores ``s = Phi b`` (Phi the item features, by default the identity). For each alpha

        1 / sum(w) * [1/2 sum_k w_k (y_k - (s_i - s_j) - bias - gamma_k)^2 + alpha sum_k w_k |gamma_k|]

    is minimised over b, bias and the outliers gamma, w the sample weights. Without gamma this is
    Huber's loss of the residuals with threshold alpha, without b it is the Lasso in which the
    scores are projected out. A comparison with a large first entry, the largest alpha at which
    its gamma_k leaves zero, contradicts the others. With ``annotator_effects='group'`` the penalty
    is ``alpha sum_a sqrt(n_a) ||gamma_a||`` over annotators a with votes of total weight n_a.

    Parameters
    ----------
    X : array-like of shape (n_comparisons, 2)
        The two items of each comparison: integers from 0, or labels of any hashable type.
    y : array-like of shape (n_comparisons,)
        Margin by which the first item won (negative: lost); -1, 0 and 1 for votes.
    items : None, int or array-like, default=None
        All items, or their number if they are 0, 1, ...; None takes those of X, or the rows of
        ``item_features``.
    item_features : {array-like, sparse matrix} of shape (n_items, n_features), default=None
        Features Phi of the items, in the order of ``items``; a data frame may name the items by
        its index, in any order.
    fit_position_bias : bool, default=False
        Whether to fit an advantage of the item that is named first.
    sample_weight : array-like of shape (n_comparisons,), default=None
        Multiplicity w_k >= 0 of each comparison.
    annotators : array-like of shape (n_comparisons,), default=None
        Who made each comparison; needed for ``annotator_effects``.
    annotator_effects : {'group'}, default=None
        Whether annotators enter as a whole.
    alphas : int or array-like of float, default=None
        Number of alphas on a geometric grid from the largest useful one to a thousandth of it, or
        the grid itself, at which to return the solutions. None returns those at which the path was
        computed.
    tol : float, default=1e-3
        Relative accuracy of the first entries.
    return_outliers : bool, default=False
        Whether to return gamma at all alphas, of shape (n_comparisons, n_alphas).

    Returns
    -------
    path : Bunch
        Its fields are

        - ``entry_alpha``: ndarray of shape (n_comparisons,), first entries in units of y. A
          comparison that has not entered when all but one in a hundred have gets the size of its
          residual then, one that never does gets zero;
        - ``order``: indices of the comparisons, first entries first;
        - ``alphas``: ndarray of shape (n_alphas,), decreasing;
        - ``scores``: ndarray of shape (n_items, n_alphas), centred, NaN for items that are never
          compared;
        - ``coefs``: ndarray of shape (n_features or n_items, n_alphas);
        - ``position_biases``: ndarray of shape (n_alphas,);
        - ``dual_gaps``: ndarray of shape (n_alphas,), in units of the objective, if ``alphas`` are
          given;
        - ``items``: ndarray of the items, in the order of the scores;
        - ``annotators``, ``annotator_entry_alpha``: the annotators and their first entries, with
          ``annotator_effects='group'``;
        - ``outliers``: gamma, if ``return_outliers`` is set.

    Raises
    ------
    ValueError
        If an item is compared with itself, is unknown or out of range, if X has other than two
        columns, y is not finite, or a parameter is out of its range.

    References
    ----------
    .. [1] Xu, Xiong, Huang & Yao (2013), "Robust evaluation for quality of experience in crowdsourcing",
       ACM Multimedia, 43-52.
    .. [2] Fu, Hospedales, Xiang, Xiong, Gong, Wang & Yao (2016), "Robust subjective visual property
       prediction from crowdsourced pairwise labels", IEEE Transactions on Pattern Analysis and Machine
       Intelligence 38, 563-577.

    Examples
    --------
    >>> from skspar import pairwise_outlier_path
    >>> X = [["a", "b"], ["b", "c"], ["a", "c"], ["a", "b"], ["c", "a"]]
    >>> path = pairwise_outlier_path(X, [1.0, 1.0, 2.0, 1.1, 2.0])
    >>> int(path.order[0])  # the last one says that c beats a
    4
    """
    X, y, weights = _check_comparisons(X, y, sample_weight)
    problem = _set_up(X, y, weights, items, item_features, fit_position_bias, annotators, annotator_effects)
    path = follow(problem.model, tol)
    grid = _grid(alphas, path, problem.scale)
    thetas, gaps = [], []
    full = problem.space.solver(problem.space.all_pairs)
    for alpha in grid / problem.scale:
        theta = path.theta(alpha)
        if alphas is not None and alpha < path.alpha_max:
            theta = solve(problem.model, max(alpha, 1e-12 * path.alpha_max), theta).theta
            gaps.append(problem.model.dual_gap(theta, alpha, full) * problem.scale * problem.scale / weights.sum())
        elif alphas is not None:
            gaps.append(0.0)
        thetas.append(theta)
    entry = path.entry * problem.scale
    first = problem.to_rows(entry)
    out = Bunch(
        entry_alpha=first,
        order=np.argsort(-first, kind="stable"),
        alphas=grid,
        scores=np.column_stack([problem.scores(theta) for theta in thetas]),
        coefs=np.column_stack([problem.coefficients(theta) for theta in thetas]),
        position_biases=np.array([problem.position_bias(theta) for theta in thetas]),
        items=problem.items,
    )
    if alphas is not None:
        out.dual_gaps = np.array(gaps)
    if annotator_effects == "group":
        out.annotators, out.annotator_entry_alpha = problem.annotators, entry
    if return_outliers:
        columns = [problem.outliers(theta, alpha) for theta, alpha in zip(thetas, grid / problem.scale)]
        out.outliers = np.column_stack(columns)
    return out


class RobustPairwiseRanker(BaseEstimator):
    """Scores of items from pairwise comparisons of which some are wrong or malicious.

    Comparison k of the items i and j has the margin ``y_k = s_i - s_j + bias + gamma_k + noise`` with the
    scores ``s = Phi b`` (Phi the item features, by default the identity). Along

        min 1 / sum(w) * [1/2 sum_k w_k (y_k - (s_i - s_j) - bias - gamma_k)^2 + alpha sum_k w_k |gamma_k|]

    the comparisons leave the fit one after another as alpha falls; those that leave first
    contradict the others most. With a number ``alpha`` the scores are those of this problem, a
    Huber estimate with threshold alpha (infinite: HodgeRank least squares). Else the earliest
    share ``contamination`` of the path is left out, and the scores are least squares on the rest.

    Parameters
    ----------
    alpha : float, default=None
        Threshold of Huber's loss, in units of y; comparisons with larger residuals are outliers.
        None prunes by ``contamination``.
    contamination : 'auto' or float, default='auto'
        Share of the comparisons (by weight) to leave out, from 0 to 0.5. 'auto' takes the share,
        of a grid up to 0.5, at which the estimated variance of the scores is least relative to
        their spread: the mean squared influence of a comparison on the pruned estimate, the
        selection included, over the mean squared difference of fitted scores. None is left out
        unless that gains five per cent, none at thresholds below 0.9 times the (normal-consistent)
        median absolute residual, and none that would split the graph of comparisons. Votes (all
        margins that are not zero have the same size) are judged by a mixture of two Bradley-Terry
        models instead of the path, see Notes.
    items : None, int or array-like, default=None
        All items, or their number if they are 0, 1, ...; None takes those seen in fit, or the rows
        of ``item_features``. Name them where folds of the data may miss some.
    item_features : {array-like, sparse matrix} of shape (n_items, n_features), default=None
        Features Phi of the items, in the order of ``items``; a data frame may name the items by
        its index, in any order. They help where comparisons are fewer than items, and rank new
        items too.
    fit_position_bias : bool, default=False
        Whether to fit an advantage of the item that is named first.
    penalty : {'l1', 'hard'}, default='l1'
        'hard' repeats pruning at the same threshold with the residuals of the last refit, until
        nothing changes: a local minimum of ``sum_k w_k min(r_k^2, alpha^2)``. Votes that
        ``contamination='auto'`` judges have no threshold, and this plays no part.
    annotator_effects : {'group'}, default=None
        'group' replaces the penalty by ``alpha sum_a sqrt(n_a) ||gamma_a||`` over annotators a with
        votes of total weight n_a, so that annotators are left out as a whole.
    handle_unknown : {'warn', 'error'}, default='warn'
        What happens with items that were not compared in fit: a warning, a score of NaN and
        predictions of 0, or an error.
    tie_threshold : float, default=0.0
        Score differences up to this size are predicted as ties.

    Attributes
    ----------
    items_ : ndarray of shape (n_items,)
        The items.
    scores_ : ndarray of shape (n_items,)
        Scores, centred over the items (those of each connected component, without features), in
        units of y; NaN for items that were not compared.
    ranking_ : ndarray of shape (n_items,)
        The items from the best to the worst; those without a score come last.
    coef_ : ndarray of shape (n_features,) or (n_items,)
        Coefficients b; without features the scores.
    position_bias_ : float
        Advantage of the item that is named first.
    alpha_ : float
        The threshold used: comparisons that entered the path before are left out; infinite if
        none is, or where 'auto' judges votes, which takes no threshold. For a share it lies midway
        between the last one left out and the first one kept.
    contamination_ : float
        Share of the comparisons, by weight, that are outliers.
    comparison_outlier_score_ : ndarray of shape (n_comparisons,)
        Alpha of the first entry into the path, in units of y: the larger, the more a comparison
        contradicts the others; accurate to a relative 1e-3. See `pairwise_outlier_path`.
    outlier_mask_ : ndarray of bool of shape (n_comparisons,)
        Comparisons that are outliers.
    n_connected_components_ : int
        Connected components of the graph of comparisons. Scores of different ones cannot be
        compared, unless features connect them.
    cyclicity_ratio_ : float
        Part of the margins that no scores explain: with the mean margin m_p (bias subtracted) and
        the total weight w_p of each pair p, and d_p the fitted differences of least squares on
        all comparisons, ``sum_p w_p (m_p - d_p)^2 / sum_p w_p m_p^2``, from 0 (consistent) to 1.
    annotators_ : ndarray
        The annotators; empty if none were passed.
    annotator_outlier_rate_ : ndarray of shape (n_annotators,)
        Share of each annotator's comparisons, by weight, that are outliers.
    annotator_outlier_score_ : ndarray of shape (n_annotators,)
        Alpha of the first entry of each annotator with ``annotator_effects='group'``, else the
        mean of the annotator's ``comparison_outlier_score_``.
    dual_gap_ : float
        Duality gap of the Huber problem at ``alpha_``, in units of the objective.
    n_iter_ : int
        Number of thresholds at which the path was solved.
    n_features_in_ : int
        Number of columns of X: two.
    feature_names_in_ : ndarray of shape (2,)
        Names of the columns of X, where all are strings.

    See Also
    --------
    pairwise_outlier_path : The path without an estimator.

    Notes
    -----
    Margins -1, 0 and 1 (votes) are fitted by least squares like any other, with an ``alpha`` or a
    share ``contamination``. The scores, and the intervals around them, then refer to what least
    squares would give for all votes that could be cast by the voters who are kept, not to the
    log-odds of a logistic (Bradley-Terry) model.

    With ``contamination='auto'`` a vote on a pair with the lead ``d = s_i - s_j + bias`` goes to i
    with the probability ``(1 - e) / (1 + exp(-d)) + e / (1 + exp(-c))``: a share e, at most a half,
    is wrong. Wrong votes are cast the wrong way round (c = -d), or follow a ranking of their own
    (malicious voters, ``c = t_i - t_j + bias'``). Scores s and t, in logits, are normal with a
    common variance. Both kinds are fitted with several variances, and averaged by their marginal
    likelihoods (Laplace's approximation). Outliers are votes that are more probably wrong than
    right. ``scores_`` are, in units of y, least squares on the expected right votes of all pairs
    of items, compared or not: the same target, which needs fewer votes; `confidence_interval` has
    their posterior standard deviations. Ties count half for either item. With more than 300
    parameters only the first kind is fitted, with variance 1 / 0.12. Of votes that do not differ
    from coin flips (least squares explains no more of them, by a chi-squared test at 5 %) none is
    wrong. Votes no more than a spanning tree of the graph has are fitted exactly. With
    ``annotator_effects`` votes are pruned by the path like margins.

    Scores are meaningful up to a constant. Comparisons of equal items, with the same margin, are
    merged, and so are mirrored ones: no cost depends on multiplicity.

    References
    ----------
    .. [1] Jiang, Lim, Yao & Ye (2011), "Statistical ranking and combinatorial Hodge theory",
       Mathematical Programming 127, 203-244.
    .. [2] Xu, Xiong, Huang & Yao (2013), "Robust evaluation for quality of experience in crowdsourcing",
       ACM Multimedia, 43-52.
    .. [3] Fu, Hospedales, Xiang, Xiong, Gong, Wang & Yao (2016), "Robust subjective visual property
       prediction from crowdsourced pairwise labels", IEEE Transactions on Pattern Analysis and Machine
       Intelligence 38, 563-577.
    .. [4] Bradley & Terry (1952), "Rank analysis of incomplete block designs: I. The method of paired
       comparisons", Biometrika 39, 324-345.
    .. [5] Jaeckel (1971), "Some flexible estimates of location", Annals of Mathematical Statistics 42,
       1540-1552, for trimming as much as the estimated variance asks for.

    Examples
    --------
    >>> from skspar import RobustPairwiseRanker
    >>> from skspar.datasets import make_pairwise_comparisons
    >>> data = make_pairwise_comparisons(10, 400, outlier_fraction=0.2, random_state=0)
    >>> ranker = RobustPairwiseRanker().fit(data.X, data.y)
    >>> bool(ranker.ranking_[0] == data.scores.argmax())
    True
    >>> ranker.predict([[ranker.ranking_[0], ranker.ranking_[-1]]])
    array([1.])
    """

    _parameter_constraints: dict = {
        **COMMON_CONSTRAINTS,
        "alpha": [Interval(Real, 0, np.inf, closed="right"), None],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="both")],
        "penalty": [StrOptions({"l1", "hard"})],
        "handle_unknown": [StrOptions({"warn", "error"})],
        "tie_threshold": [Interval(Real, 0, None, closed="left")],
    }

    path = staticmethod(pairwise_outlier_path)

    def __init__(
        self,
        alpha=None,
        *,
        contamination="auto",
        items=None,
        item_features=None,
        fit_position_bias=False,
        penalty="l1",
        annotator_effects=None,
        handle_unknown="warn",
        tie_threshold=0.0,
    ):
        self.alpha = alpha
        self.contamination = contamination
        self.items = items
        self.item_features = item_features
        self.fit_position_bias = fit_position_bias
        self.penalty = penalty
        self.annotator_effects = annotator_effects
        self.handle_unknown = handle_unknown
        self.tie_threshold = tie_threshold

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.target_tags.required = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, annotators=None):
        """Fit the scores.

        Parameters
        ----------
        X : array-like of shape (n_comparisons, 2)
            The two items of each comparison: integers from 0, or labels of any hashable type.
        y : array-like of shape (n_comparisons,)
            Margin by which the first item won (negative: lost); -1, 0 and 1 for votes.
        sample_weight : array-like of shape (n_comparisons,), default=None
            Multiplicity >= 0 of each comparison.
        annotators : array-like of shape (n_comparisons,), default=None
            Who made each comparison.

        Returns
        -------
        self : RobustPairwiseRanker
            The fitted model.

        Raises
        ------
        ValueError
            If an item is compared with itself, is unknown or out of range, if X has other than
            two columns, y is not finite, annotators are needed and missing, or parameters
            contradict each other.
        """
        if self.alpha is not None and self.contamination != "auto":
            raise ValueError(
                f"alpha and contamination both say what is an outlier; set one of them. Got alpha={self.alpha!r} and "
                f"contamination={self.contamination!r}; contamination must be 'auto' where alpha is a number."
            )
        X, y, weights = _check_comparisons(X, y, sample_weight, self)
        problem = _set_up(
            X, y, weights, self.items, self.item_features, self.fit_position_bias, annotators, self.annotator_effects
        )
        problem.report(self.handle_unknown)
        model, path = problem.model, follow(problem.model, ENTRY_TOL)
        with one_blas_thread:
            pruned = self._prune(problem, path)

        scale, theta = problem.scale, pruned.theta
        self.items_ = problem.items
        self.scores_, self.coef_ = problem.scores(theta), problem.coefficients(theta)
        self.position_bias_ = problem.position_bias(theta)
        self.ranking_ = problem.items[np.argsort(-self.scores_, kind="stable")]  # NaN sorts last
        self.alpha_ = float(pruned.alpha * scale if self.alpha is None else self.alpha)
        entry = path.entry * scale
        self.comparison_outlier_score_ = problem.to_rows(entry)
        self.outlier_mask_ = ~pruned.kept[problem.merged.inverse]
        self.contamination_ = float(weights @ self.outlier_mask_ / weights.sum())
        self.n_connected_components_ = problem.n_components
        self.cyclicity_ratio_ = problem.cyclicity(path.points[0].theta)
        self.annotators_ = problem.annotators
        self.annotator_outlier_rate_ = problem.by_annotator(self.outlier_mask_, weights)
        if self.annotator_effects == "group":
            self.annotator_outlier_score_ = entry
        else:
            self.annotator_outlier_score_ = problem.by_annotator(self.comparison_outlier_score_, weights)
        self.dual_gap_ = 0.0
        if pruned.alpha < path.alpha_max:
            start = solve(model, pruned.alpha, pruned.start).theta
            full = problem.space.solver(problem.space.all_pairs)
            self.dual_gap_ = float(model.dual_gap(start, pruned.alpha, full) * scale * scale / weights.sum())
        self.n_iter_ = path.n_solved
        self._problem, self._pruned = problem, pruned
        return self

    def _prune(self, problem, path):
        """What is left out, and the scores of the rest."""
        model, harden = problem.model, self.penalty == "hard"
        if self.alpha is not None:
            alpha = self.alpha / problem.scale
            if alpha >= path.alpha_max:
                return prune(model, path, np.inf)
            point = solve(model, alpha, path.theta(alpha))
            if harden:
                pruned = prune(model, path, alpha, harden)
            else:
                units = model.values(point.theta) <= alpha * (1.0 + 1e-12)
                kept = units if problem.merged.group is None else units[problem.merged.group]
                return Pruned(alpha, kept, point.theta, point.theta)
        elif self.contamination == "auto":
            return choose(model, path, harden)
        else:
            pruned = prune(model, path, cut_for_share(path, model.unit_weights, self.contamination), harden)
        if not stays_connected(model, pruned.kept):
            warnings.warn(
                f"Leaving out {1 - np.average(pruned.kept, weights=model.weights):.3g} of the comparisons splits the "
                "graph of those kept: scores of its parts cannot be compared. Lower contamination (or raise alpha).",
                stacklevel=3,
            )
        return pruned

    def decision_function(self, X):
        """Difference of the scores of the two items, plus the position bias.

        Parameters
        ----------
        X : array-like of shape (n_comparisons, 2)
            The two items of each comparison.

        Returns
        -------
        margin : ndarray of shape (n_comparisons,)
            Expected margins, in units of y; 0 where an item has no score.
        """
        check_is_fitted(self)
        X = _as_pairs(X, self, reset=False)
        codes = encode(X, self.items_)
        known = codes >= 0
        scores = np.where(known, self.scores_[codes], np.nan)
        margin = scores[:, 0] - scores[:, 1] + self.position_bias_
        missing = ~np.isfinite(scores)
        if np.any(missing):
            unseen = list(dict.fromkeys(X[missing].tolist()))
            text = f"{len(unseen)} items were not compared in fit and have no score: {named(unseen)}."
            if self.handle_unknown == "error":
                raise ValueError(f"X: {text} handle_unknown='warn' predicts ties for them.")
            warnings.warn(f"{text} Their comparisons are predicted as ties.", stacklevel=2)
            margin[missing.any(axis=1)] = 0.0
        return margin

    def predict(self, X):
        """Predict who wins.

        Parameters
        ----------
        X : array-like of shape (n_comparisons, 2)
            The two items of each comparison.

        Returns
        -------
        y : ndarray of shape (n_comparisons,)
            1 where the first item wins, -1 where the second does, 0 for ties: differences up to
            ``tie_threshold``, and items without a score.
        """
        margin = self.decision_function(X)
        return np.where(np.abs(margin) <= self.tie_threshold, 0.0, np.sign(margin))

    def score(self, X, y, sample_weight=None):
        """Pairwise accuracy: share of the comparisons that are no ties whose winner is predicted.

        Parameters
        ----------
        X : array-like of shape (n_comparisons, 2)
            The two items of each comparison.
        y : array-like of shape (n_comparisons,)
            Margins; those of 0 are left out.
        sample_weight : array-like of shape (n_comparisons,), default=None
            Weights of the comparisons.

        Returns
        -------
        accuracy : float
            From 0 to 1; a predicted tie counts one half.
        """
        accuracy = pairwise_accuracy_scorer(self, X, y, sample_weight)
        if np.isnan(accuracy):
            raise ValueError(
                "y must have a margin other than 0 with positive weight for a pairwise accuracy; has none."
            )
        return accuracy

    def confidence_interval(self, level=0.95):
        """Confidence intervals of the scores.

        The sandwich estimate of their covariance allows for unequal variances, corrects residuals
        for their leverage, and counts in that the comparisons left out were chosen by the data: as
        a comparison moves the Huber estimate, others cross the threshold, which moves the refit.
        For votes that ``contamination='auto'`` judges it is the posterior covariance, see Notes.

        Parameters
        ----------
        level : float, default=0.95
            Coverage, between 0 and 1.

        Returns
        -------
        interval : ndarray of shape (n_items, 2)
            Lower and upper ends, in units of y; NaN for items without a score.
        """
        check_is_fitted(self)
        if not isinstance(level, Real) or not 0.0 < level < 1.0:
            raise ValueError(f"level must be a number between 0 and 1; got {level!r}.")
        problem, pruned = self._problem, self._pruned
        if problem.space.n_parameters > DENSE_LIMIT:
            raise ValueError(
                f"confidence_interval needs a dense matrix of all parameters, of which there may be {DENSE_LIMIT}; "
                f"there are {problem.space.n_parameters}."
            )
        shrunken = self.alpha is not None and self.penalty == "l1" and np.isfinite(pruned.alpha)
        covariances = covariance(problem.model, pruned, shrunken, self.penalty == "hard")
        half = norm.ppf(0.5 + level / 2) * problem.standard_errors(covariances)
        return np.column_stack([self.scores_ - half, self.scores_ + half])


def pairwise_accuracy_scorer(estimator, X, y, sample_weight=None):
    """Scorer: share of comparisons, ties left out, whose winner is predicted.

    For the ``scoring`` parameter of cross-validation, also of pipelines and other estimators whose
    ``predict`` gives signed margins.

    Parameters
    ----------
    estimator : estimator
        A fitted model.
    X : array-like of shape (n_comparisons, 2)
        The two items of each comparison.
    y : array-like of shape (n_comparisons,)
        Margins.
    sample_weight : array-like of shape (n_comparisons,), default=None
        Weights of the comparisons.

    Returns
    -------
    accuracy : float
        From 0 to 1; a predicted tie counts one half.

    Examples
    --------
    >>> from sklearn.model_selection import cross_val_score
    >>> from skspar import RobustPairwiseRanker, pairwise_accuracy_scorer
    >>> from skspar.datasets import make_pairwise_comparisons
    >>> data = make_pairwise_comparisons(8, 200, random_state=0)
    >>> scores = cross_val_score(RobustPairwiseRanker(items=8), data.X, data.y, scoring=pairwise_accuracy_scorer)
    >>> bool(scores.mean() > 0.8)
    True
    """
    predicted, y = np.sign(estimator.predict(X)), _as_margins(y)
    check_consistent_length(predicted, y)
    weights = np.ones(len(y)) if sample_weight is None else _check_sample_weight(sample_weight, y[:, None])
    weights = np.where(y == 0.0, 0.0, weights)
    if not weights.any():
        return np.nan
    return float(np.average(np.where(predicted == 0.0, 0.5, predicted == np.sign(y)), weights=weights))


def kendall_tau_scorer(known_scores):
    """Make a scorer: Kendall's tau between the fitted scores and known ones.

    It does not depend on what the model is scored on, only on what it was fitted to.

    Parameters
    ----------
    known_scores : mapping or array-like of shape (n_items,)
        Known score of each item, the best the highest: by item, or in the order of ``items_``.
        Items that are not in a mapping, or have no fitted score, do not count.

    Returns
    -------
    scorer : callable
        For the ``scoring`` parameter of cross-validation: called with a fitted `RobustPairwiseRanker`,
        X and y, it returns Kendall's tau-b.

    Examples
    --------
    >>> from skspar import RobustPairwiseRanker, kendall_tau_scorer
    >>> from skspar.datasets import make_pairwise_comparisons
    >>> data = make_pairwise_comparisons(8, 200, random_state=0)
    >>> ranker = RobustPairwiseRanker(items=8).fit(data.X, data.y)
    >>> bool(kendall_tau_scorer(data.scores)(ranker, data.X, data.y) > 0.8)
    True
    """
    return _KendallTau(known_scores)


class _KendallTau:
    """A class, so that it can be sent to other processes."""

    def __init__(self, known_scores):
        self.known_scores = known_scores

    def __call__(self, estimator, X=None, y=None):
        items = estimator.items_.tolist()
        if hasattr(self.known_scores, "get"):
            known = np.array([self.known_scores.get(item, np.nan) for item in items], dtype=np.float64)
        else:
            known = np.asarray(self.known_scores, dtype=np.float64)
        if known.shape != (len(items),):
            raise ValueError(f"known_scores must have a score for each of the {len(items)} items; got {known.shape}.")
        both = np.isfinite(known) & np.isfinite(estimator.scores_)
        return float(kendalltau(known[both], estimator.scores_[both])[0])


# Input


def _check_comparisons(X, y, sample_weight, estimator=None):
    X = _as_pairs(X, estimator, reset=True)
    y = _as_margins(y)
    check_consistent_length(X, y)
    return X, y, check_weights(sample_weight, y[:, None])


def _as_margins(y):
    """y as an array of one dimension."""
    if np.asarray(y).dtype == bool:
        raise ValueError(
            "y must be margins: positive where the first item won, negative (-1) where it lost, 0 for ties; got dtype "
            "bool."
        )
    y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
    if y.ndim != 1:
        y = y.reshape(len(y), -1)
        if y.shape[1] != 1:
            raise ValueError(f"y must have one margin for each comparison; got shape {y.shape}.")
        y = y[:, 0]
    return y


def _as_pairs(X, estimator, reset):
    """X as an array of labels with two columns; sets or checks the column names of an estimator."""
    if sparse.issparse(X):
        raise ValueError("X must be a dense array of items with two columns; got a sparse matrix.")
    pairs = X.to_numpy() if hasattr(X, "to_numpy") else X
    if not isinstance(pairs, np.ndarray):
        as_array = np.empty((0, 0))
        try:
            rows = [tuple(row) for row in pairs]
        except TypeError:
            raise ValueError(f"X must be an array of items with two columns; got {type(X).__name__}.") from None
        if rows and all(len(row) == 2 for row in rows):
            # element by element: labels of different kinds stay what they are, tuples stay labels
            kinds = {type(item) for row in rows for item in row}
            if kinds == {str} or all(issubclass(kind, Real) for kind in kinds):
                as_array = np.array(rows)
            else:
                as_array = np.empty((len(rows), 2), dtype=object)
                for k, row in enumerate(rows):
                    as_array[k, 0], as_array[k, 1] = row
        else:
            as_array = np.empty((len(rows), len(rows[0]) if rows else 0))
        pairs = as_array
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(f"X must have two columns, the two items of each comparison; got shape {pairs.shape}.")
    if len(pairs) == 0:
        raise ValueError("X must have at least one comparison; got 0 rows.")
    if estimator is not None:
        validate_data(estimator, X=X if hasattr(X, "columns") else pairs, reset=reset, skip_check_array=True)
    return pairs


def _grid(alphas, path, scale):
    """The alphas at which a path is returned, decreasing, in units of y."""
    if alphas is None:
        return np.array([point.alpha for point in path.points]) * scale
    top = path.alpha_max * scale
    if isinstance(alphas, Integral):
        return np.geomspace(top, 1e-3 * top, alphas) if top > 0.0 else np.full(alphas, np.finfo(np.float64).resolution)
    grid = np.sort(np.asarray(alphas, dtype=np.float64))[::-1]
    if grid.ndim != 1 or len(grid) == 0 or not np.all(grid > 0.0):
        raise ValueError(f"alphas must be an integer >= 1 or a 1-d array of positive numbers; got {alphas!r}.")
    return grid


# The problem in numbers


@dataclass
class _Problem:
    """Comparisons as the engine sees them, and the way back to the user's items and rows."""

    items: np.ndarray
    local: np.ndarray  # places of the items in any comparison, which the engine numbers
    present: np.ndarray  # whether an item is in a comparison of positive weight
    features: object
    scale: float  # of y, a power of two
    merged: object
    space: object
    model: object
    annotators: np.ndarray
    voter: np.ndarray | None
    bias_asked: bool

    @property
    def n_components(self):
        """Connected components, items without comparisons not counted."""
        return len(np.unique(self.space.component[self.present[self.local]]))

    def scores(self, theta):
        """Scores of all items in units of y."""
        if self.features is not None:
            s = np.asarray(self.features @ self.coefficients(theta))
            return s - s.mean()
        s = np.full(len(self.items), np.nan)
        s[self.local] = self.space.scores(self.space.centred(theta))[0] * self.scale
        s[~self.present] = np.nan
        return s

    def coefficients(self, theta):
        if self.features is None:
            return self.scores(theta)
        return np.asarray(self.space.coefficients(theta)) * self.scale

    def position_bias(self, theta):
        return self.space.scores(theta)[1] * self.scale

    def standard_errors(self, covariance):
        if self.features is None:
            errors = np.full(len(self.items), np.nan)
            errors[self.local] = np.sqrt(np.maximum(self.space.score_variances(covariance), 0.0))
            errors[~self.present] = np.nan
            return errors * self.scale
        F = self.features.toarray() if sparse.issparse(self.features) else self.features
        F = F - F.mean(axis=0)
        n = self.space.n_free
        G = np.column_stack([self.space.coefficients(e) for e in np.eye(n)]) if n else np.empty((F.shape[1], 0))
        return np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", F @ G, covariance[:n, :n], F @ G), 0.0)) * self.scale

    def to_rows(self, entry):
        """Of distinct rows, or groups, to the rows given."""
        if self.merged.group is not None:
            entry = entry[self.merged.group]
        return entry[self.merged.inverse]

    def outliers(self, theta, alpha):
        """gamma of the rows given, in units of y."""
        r = self.model.residuals(theta)
        if self.merged.group is None:
            gamma = np.sign(r) * np.maximum(np.abs(r) - alpha, 0.0)
        else:
            values = self.model.values(theta)
            share = np.maximum(1.0 - alpha / np.maximum(values, 1e-300), 0.0)
            gamma = r * share[self.merged.group]
        return gamma[self.merged.inverse] * self.merged.sign * self.scale

    def cyclicity(self, theta):
        """Share of the aggregated margins that least squares does not explain."""
        merged = self.merged
        bias = self.space.scores(theta)[1]
        swap = merged.first > merged.second
        sign = np.where(swap, -1.0, 1.0)[merged.pair]
        low, high = np.minimum(merged.first, merged.second), np.maximum(merged.first, merged.second)
        _, pair = np.unique(low.astype(np.int64) * len(self.items) + high, return_inverse=True)
        pair = pair[merged.pair]
        total = np.bincount(pair, weights=merged.weights)
        held = total > 0.0
        mean = np.bincount(pair, weights=merged.weights * sign * (merged.y - bias))[held] / total[held]
        fit = np.zeros(len(total))
        fit[pair] = sign * self.space.item_differences(theta)[merged.pair]
        size = total[held] @ mean**2
        return float(min(total[held] @ (mean - fit[held]) ** 2 / size, 1.0)) if size > 0.0 else 0.0

    def by_annotator(self, values, weights):
        """Weighted mean of some values of the rows given for each annotator."""
        if self.voter is None:
            return np.empty(0)
        n = len(self.annotators)
        total = np.bincount(self.voter, weights=weights, minlength=n)
        return np.bincount(self.voter, weights=weights * values, minlength=n) / np.where(total > 0.0, total, 1.0)

    def report(self, handle_unknown):
        """Say what the comparisons do not determine."""
        unseen = np.flatnonzero(~self.present)
        if len(unseen) and self.features is None:
            text = (
                f"{len(unseen)} of {len(self.items)} items are in no comparison: {named(self.items[unseen].tolist())}."
            )
            if handle_unknown == "error":
                raise ValueError(f"X: {text} handle_unknown='warn' gives them the score NaN.")
            warnings.warn(f"{text} Their scores are NaN.", stacklevel=3)
        if self.n_components > 1 and self.features is None:
            component = self.space.component[self.present[self.local]]
            places = self.local[self.present[self.local]]
            parts = [self.items[places[component == c]].tolist() for c in np.unique(component)]
            parts = sorted(parts, key=len, reverse=True)
            shown = "; ".join(f"({named(part)})" for part in parts[:4]) + ("; ..." if len(parts) > 4 else "")
            warnings.warn(
                f"The comparisons fall into {len(parts)} components without a comparison between them: {shown}. Each "
                "is centred on its own, and scores of different components cannot be compared.",
                stacklevel=3,
            )
        if self.bias_asked and not self.space.position_bias:
            warnings.warn(
                "The position bias cannot be told from the scores, because no items are compared in both orders or "
                "along a cycle; it is set to 0.",
                stacklevel=3,
            )


def _set_up(X, y, weights, items, item_features, fit_position_bias, annotators, annotator_effects):
    """Number the items, merge equal comparisons, and state the problem."""
    items, features = universe(X, items, item_features)
    codes = encode(X, items, strict=True)
    left, right = codes[:, 0], codes[:, 1]
    same = np.flatnonzero(left == right)
    if len(same):
        raise ValueError(
            f"X must compare two different items; {len(same)} rows compare an item with itself, such as row {same[0]} "
            f"({items[left[same[0]]]!r})."
        )
    voter, group = None, None
    names = np.empty(0)
    if annotators is not None:
        labels = annotators.to_numpy() if hasattr(annotators, "to_numpy") else annotators
        if not isinstance(labels, np.ndarray):
            labels = list(labels)
            plain = len({type(label) for label in labels}) == 1 and isinstance(labels[0], str | Integral | Real)
            as_array = np.array(labels) if plain else np.empty(len(labels), dtype=object)
            if not plain:
                as_array[:] = labels
            labels = as_array
        if labels.shape != (len(y),):
            raise ValueError(
                f"annotators must have a label for each of {len(y)} comparisons; got shape {labels.shape}."
            )
        names, _ = universe(labels[:, None], None, None, what="annotators")
        voter = encode(labels[:, None], names)[:, 0]
    if annotator_effects is not None:
        if voter is None:
            raise ValueError(f"annotator_effects={annotator_effects!r} must be used with annotators; got None.")
        group = voter
    # items without a comparison of positive weight have no parameters, unless features give them a score
    held = weights > 0.0
    present = np.zeros(len(items), dtype=bool)
    present[codes[held].ravel()] = True
    touched = np.zeros(len(items), dtype=bool)
    touched[codes.ravel()] = True
    local = np.flatnonzero(touched)
    place = np.cumsum(touched) - 1
    largest = np.abs(y[held]).max()
    scale = 2.0 ** float(np.clip(np.frexp(largest)[1], -1000, 1000)) if largest > 0.0 else 1.0
    merged = merge(
        place[left], place[right], y / scale, weights, len(local), mirror=not fit_position_bias, group=group
    )  # fmt: skip
    total = np.bincount(merged.pair, weights=merged.weights, minlength=len(merged.first))
    own_features = None if features is None else features[local]
    if features is not None:
        spread = own_features.max(axis=0) - own_features.min(axis=0)
        if not (spread.toarray() if sparse.issparse(spread) else spread).any():
            raise ValueError("item_features must have a column that differs between the items compared; none does.")
    space = Parametrization(merged.first, merged.second, len(local), own_features, fit_position_bias, total)
    model = Comparisons(merged, space) if group is None else GroupedComparisons(merged, space, len(names))
    problem = _Problem(items, local, present, features, scale, merged, space, model, names, voter, fit_position_bias)
    return problem
