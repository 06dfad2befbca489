"""Pairwise comparisons of which some are wrong."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import Bunch, check_random_state

__all__ = ["make_pairwise_comparisons"]


def make_pairwise_comparisons(
    n_items=20,
    n_comparisons=1000,
    *,
    outlier_fraction=0.1,
    outlier_type="flip",
    response="margin",
    scores="normal",
    noise=0.5,
    ties=0.0,
    n_features=0,
    position_bias=0.0,
    n_annotators=0,
    careless_annotators=0.0,
    random_state=None,
):
    """Generate comparisons of random pairs of items, some of which are wrong.

    Comparison k shows the items i and j in random order and yields the margin ``s_i - s_j + position_bias +
    noise * e_k`` with standard normal e_k, or the sign of that. Then outliers are made, and careless annotators answer
    without looking.

    Parameters
    ----------
    n_items : int, default=20
        Number of items, at least 2.

    n_comparisons : int, default=1000
        Number of comparisons.

    outlier_fraction : float, default=0.1
        Probability that a comparison is made an outlier, from 0 to 1.

    outlier_type : {'flip', 'random', 'malicious'}, default='flip'
        How: the margin is multiplied by -1; it gets a random sign; or it follows another ranking of the items, the same
        for all outliers.

    response : {'margin', 'vote'}, default='margin'
        Whether `y` is the margin or its sign.

    scores : {'normal', 'order'}, default='normal'
        Whether the true scores are standard normal, or a random permutation of equally spaced ones with mean 0 and
        variance 1.

    noise : float, default=0.5
        Standard deviation of the noise, >= 0.

    ties : float, default=0.0
        Share of the comparisons with the smallest margins that become ties, ``y = 0``; from 0 to 1.

    n_features : int, default=0
        If positive, the scores are linear in this many standard normal features of the items, up to centring, and still
        have variance 1; `scores` must then be 'normal'.

    position_bias : float, default=0.0
        Advantage of the item that is shown first.

    n_annotators : int, default=0
        If positive, each comparison is made by an annotator chosen at random.

    careless_annotators : float, default=0.0
        Share of the annotators that answer without looking, from 0 to 1: every other one always for the first item, the
        rest at random. The size of their margins is that of another comparison.

    random_state : int, RandomState instance or None, default=None
        Determines random number generation. Pass an int for reproducible output across calls.

    Returns
    -------
    data : Bunch
        Its fields are

        - ``X``: ndarray of int of shape (n_comparisons, 2), the items;
        - ``y``: ndarray of shape (n_comparisons,), the margins;
        - ``scores``: ndarray of shape (n_items,), the true scores, centred;
        - ``outlier_mask``: ndarray of bool of shape (n_comparisons,), the outliers and all of careless annotators;
        - ``item_features``, ``coef``: the features and their true coefficients, or None;
        - ``annotators``: ndarray of int of shape (n_comparisons,), or None;
        - ``careless``: ndarray of bool of shape (n_annotators,), or None.

    Raises
    ------
    ValueError
        If a parameter has the wrong type or is out of range.

    Examples
    --------
    >>> from skspar.datasets import make_pairwise_comparisons
    >>> data = make_pairwise_comparisons(n_items=4, n_comparisons=100, response="vote", random_state=0)
    >>> data.X.shape, sorted(set(data.y.tolist()))
    ((100, 2), [-1.0, 1.0])
    """
    _check_number("n_items", n_items, Integral, "an int >= 2", lambda v: v >= 2)
    _check_number("n_comparisons", n_comparisons, Integral, "an int >= 1", lambda v: v >= 1)
    _check_number("n_features", n_features, Integral, "an int >= 0", lambda v: v >= 0)
    _check_number("n_annotators", n_annotators, Integral, "an int >= 0", lambda v: v >= 0)
    for name, value in [
        ("outlier_fraction", outlier_fraction),
        ("ties", ties),
        ("careless_annotators", careless_annotators),
    ]:
        _check_number(name, value, Real, "a number from 0 to 1", lambda v: 0 <= v <= 1)
    _check_number("noise", noise, Real, "a finite number >= 0", lambda v: 0 <= v < np.inf)
    _check_number("position_bias", position_bias, Real, "a finite number", np.isfinite)
    _check_choice("outlier_type", outlier_type, ("flip", "random", "malicious"))
    _check_choice("response", response, ("margin", "vote"))
    _check_choice("scores", scores, ("normal", "order"))
    if n_features and scores != "normal":
        raise ValueError(f"scores must be 'normal' with n_features > 0; got {scores!r}.")
    if careless_annotators and not n_annotators:
        raise ValueError(f"n_annotators must be positive with careless_annotators={careless_annotators!r}; got 0.")
    rng = check_random_state(random_state)

    features, coef = None, None
    if n_features:
        features = rng.standard_normal((n_items, n_features))
        coef = rng.standard_normal(n_features)
        coef /= max(np.std(features @ coef), np.finfo(float).tiny)
        truth = features @ coef
    else:
        truth = _scores(scores, n_items, rng)
    truth = truth - truth.mean()

    first = rng.randint(n_items, size=n_comparisons)
    second = (first + 1 + rng.randint(n_items - 1, size=n_comparisons)) % n_items
    X = np.column_stack([first, second])
    error = noise * rng.standard_normal(n_comparisons) + position_bias
    y = truth[first] - truth[second] + error
    outlier = rng.uniform(size=n_comparisons) < outlier_fraction
    if outlier_type == "malicious":
        other = rng.permutation(truth)
        y[outlier] = (other[first] - other[second] + error)[outlier]
    else:
        signs = -np.ones(n_comparisons) if outlier_type == "flip" else rng.choice([-1.0, 1.0], size=n_comparisons)
        y[outlier] *= signs[outlier]

    annotators, careless = None, None
    if n_annotators:
        annotators = rng.randint(n_annotators, size=n_comparisons)
        careless = np.zeros(n_annotators, dtype=bool)
        chosen = rng.permutation(n_annotators)[: round(careless_annotators * n_annotators)]
        careless[chosen] = True
        always_first = np.zeros(n_annotators, dtype=bool)
        always_first[chosen[::2]] = True
        theirs = careless[annotators]
        size = np.abs(rng.permutation(y))
        signs = np.where(always_first[annotators], 1.0, rng.choice([-1.0, 1.0], size=n_comparisons))
        y[theirs] = (signs * size)[theirs]
        outlier |= theirs
    n_ties = round(ties * n_comparisons)
    tied = np.argsort(np.abs(y), kind="stable")[:n_ties]
    if response == "vote":
        y = np.sign(y)
    y[tied] = 0.0
    return Bunch(
        X=X, y=y, scores=truth, outlier_mask=outlier, item_features=features, coef=coef, annotators=annotators,
        careless=careless,
    )  # fmt: skip


def _scores(kind, n_items, rng):
    if kind == "normal":
        return rng.standard_normal(n_items)
    scores = rng.permutation(n_items).astype(float)
    return (scores - scores.mean()) / scores.std()


def _check_number(name, value, kind, allowed, is_allowed):
    if not isinstance(value, kind) or isinstance(value, bool | np.bool_) or not is_allowed(value):
        raise ValueError(f"{name} must be {allowed}, got {value!r}.")


def _check_choice(name, value, allowed):
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}.")
