"""Wrong labels in classification data."""

import numpy as np
from scipy import sparse
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d

from ._regression import _check_real

__all__ = ["make_label_noise"]

KINDS = ("symmetric", "pair", "class_conditional", "instance")


def make_label_noise(y, kind="symmetric", rate=None, *, X=None, transition_matrix=None, random_state=None):
    """Make some labels wrong.

    Row i becomes wrong with probability p_i, and **exactly** ``rate * n_samples`` rows do, rounded, halves up
    (systematic sampling in random order, which keeps every p_i). The kinds differ in p_i and in what a wrong row says
    instead:

    - "symmetric": p_i = rate; any other class, all with the same probability.
    - "pair": p_i = rate; the class that follows in sorted order, after the last the first.
    - "class_conditional": p_i is a rate of the row's class, and so are the probabilities of the other classes. Both are
      random: class rates vary threefold before they are scaled to the mean `rate`, other classes follow a uniform
      Dirichlet distribution. Or they are given by `transition_matrix`; then each row is drawn on its own, and the
      number of wrong rows is random.
    - "instance": p_i = min(1, c exp(-2 m_i / mean(m))), where m_i is how far the row is from the border between
      its class and the other class that is likeliest there, in log-odds of a logistic regression on X; c makes the mean
      of p_i `rate`. The row then says the likeliest other class, as a person who confuses similar things would.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        True labels, of any type that can be sorted; at least two classes.

    kind : {'symmetric', 'pair', 'class_conditional', 'instance'}, default='symmetric'
        Which rows, and what they say instead.

    rate : float, default=None
        Share of wrong labels, in [0, 1]. None means 0.1, or what `transition_matrix` says.

    X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
        Features; needed for ``kind="instance"``, and for no other kind.

    transition_matrix : array-like of shape (n_classes, n_classes), default=None
        For ``kind="class_conditional"``: entry (a, b) is the probability that a row of the a-th class in sorted order
        is given the label of the b-th. Rows sum to one. None means a random one.

    random_state : int, RandomState instance or None, default=None
        Determines random number generation. Pass an int for reproducible output across calls.

    Returns
    -------
    y_noisy : ndarray of shape (n_samples,)
        Labels, some of them wrong.

    is_wrong : ndarray of bool of shape (n_samples,)
        Which of them.

    Raises
    ------
    ValueError
        If a parameter is out of range, y has one class only, or a parameter is given that the kind does not use.

    References
    ----------
    .. [1] Frenay & Verleysen (2014), "Classification in the presence of label noise: a survey", IEEE Transactions on
       Neural Networks and Learning Systems 25, 845-869: noise completely at random, at random and not at random.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar.datasets import make_label_noise
    >>> y = np.array(["cat", "dog"] * 10)
    >>> y_noisy, is_wrong = make_label_noise(y, rate=0.2, random_state=0)
    >>> int(is_wrong.sum()), bool(np.all((y_noisy != y) == is_wrong))
    (4, True)
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}, got {kind!r}.")
    classes, codes = _encoded(y)
    n, n_classes = len(codes), len(classes)
    if (X is not None) != (kind == "instance"):
        raise ValueError(
            f"X must be given for kind='instance', and for no other kind; got kind={kind!r} "
            f"{'with' if X is not None else 'without'} X."
        )
    if transition_matrix is not None:
        transition = _checked_transition(transition_matrix, kind, rate, n_classes)
        rng = check_random_state(random_state)
        noisy = _draws(transition[codes], rng)
        return classes[noisy], noisy != codes
    rate = 0.1 if rate is None else rate
    _check_real("rate", rate, "[0, 1]", lambda value: 0 <= value <= 1)
    rng = check_random_state(random_state)
    count = int(np.floor(rate * n + 0.5))
    probability = np.full(n, count / n)
    if kind == "class_conditional":
        class_rates = rng.uniform(0.5, 1.5, size=n_classes)
        probability = _with_sum(class_rates[codes], count)
    elif kind == "instance":
        distance, likeliest = _distances(X, codes)
        probability = _with_sum(np.exp(-2.0 * distance / max(distance.mean(), 1e-300)), count)
    wrong = _systematic(probability, count, rng)
    noisy = codes.copy()
    if kind == "symmetric":
        noisy[wrong] += rng.randint(1, n_classes, size=count)
    elif kind == "pair":
        noisy[wrong] += 1
    elif kind == "class_conditional":
        others = rng.dirichlet(np.ones(n_classes - 1), size=n_classes)
        noisy[wrong] += 1 + _draws(others[codes[wrong]], rng)
    else:
        noisy[wrong] = likeliest[wrong]
    noisy %= n_classes
    return classes[noisy], noisy != codes


def _encoded(y):
    """Sorted classes, and the place of each label among them."""
    y = column_or_1d(y, warn=False)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError("y must not contain NaN or infinity.")
    try:
        classes, codes = np.unique(y, return_inverse=True)
    except TypeError as error:
        raise ValueError(
            f"y must have labels that can be sorted, such as all strings or all ints; {error}: missing labels?"
        ) from None
    if len(classes) < 2:
        raise ValueError(f"y must have at least two classes, got {len(classes)}: {classes.tolist()}.")
    return classes, codes.ravel()


def _checked_transition(transition, kind, rate, n_classes):
    if kind != "class_conditional":
        raise ValueError(f"transition_matrix must be None unless kind='class_conditional', got kind={kind!r}.")
    if rate is not None:
        raise ValueError(f"rate must be None where transition_matrix says how many labels are wrong, got {rate!r}.")
    transition = check_array(transition, dtype=np.float64, input_name="transition_matrix")
    if transition.shape != (n_classes, n_classes):
        raise ValueError(
            f"transition_matrix must have a row and a column for each of the {n_classes} classes, got shape "
            f"{transition.shape}."
        )
    if transition.min() < 0 or np.abs(transition.sum(axis=1) - 1.0).max() > 1e-8:
        raise ValueError(
            "transition_matrix must have rows of probabilities that sum to one, got smallest entry "
            f"{transition.min():g} and row sums {np.round(transition.sum(axis=1), 6).tolist()}."
        )
    return transition


def _draws(probabilities, rng):
    """A column for each row, drawn with the probabilities of the row."""
    cumulative = np.cumsum(probabilities, axis=1)
    drawn = rng.uniform(size=len(probabilities))[:, None] * cumulative[:, -1:]
    return np.sum(cumulative <= drawn, axis=1)


def _with_sum(values, total):
    """Probabilities min(1, c * values) with the given sum, c found on the log scale."""
    if total in (0, len(values)):
        return np.full(len(values), total / len(values))

    def excess(log_c):
        return np.minimum(1.0, np.exp(log_c) * values).sum() - total

    low, high = np.log(total / values.sum()) - 1e-9, -np.log(values.min())
    probabilities = np.minimum(1.0, np.exp(brentq(excess, low, high, xtol=1e-13)) * values)
    return probabilities


def _systematic(probabilities, count, rng):
    """Rows drawn with exactly these probabilities, which sum to count, and exactly so many."""
    order = rng.permutation(len(probabilities))
    edges = np.cumsum(probabilities[order])
    points = (rng.uniform() + np.arange(count)) * (edges[-1] / max(count, 1))
    places = np.searchsorted(edges, points, side="right")
    wrong = np.zeros(len(probabilities), dtype=bool)
    wrong[order[np.minimum(places, len(probabilities) - 1)]] = True
    return wrong


def _distances(X, codes):
    """Absolute log-odds of each row's class against the other class that is likeliest there, and that class."""
    X = check_array(X, accept_sparse="csr", dtype=np.float64, input_name="X")
    check_consistent_length(X, codes)
    scaler = StandardScaler(with_mean=not sparse.issparse(X)).set_output(transform="default")
    X = scaler.fit_transform(X)
    log_proba = LogisticRegression(max_iter=1000).fit(X, codes).predict_log_proba(X)
    rows = np.arange(len(codes))
    own = log_proba[rows, codes]
    log_proba[rows, codes] = -np.inf
    likeliest = np.argmax(log_proba, axis=1)
    return np.abs(own - log_proba[rows, likeliest]), likeliest
