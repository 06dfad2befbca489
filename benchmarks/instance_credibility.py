"""Semi-supervised classification with few labels: instance credibility inference beside scikit-learn's methods."""

import time
import warnings

import numpy as np

TITLE = "Few labels: instance credibility inference"
TEXT = (
    "Accuracy with 1, 3 and 5 labels a class: means over 50 splits with standard errors. Of each split 30 % of the "
    "rows, stratified, are held out; of the others all but those labels are hidden. Features are standardised. 'Ours' "
    "and self-training wrap the same logistic regression, all with default settings; label spreading has the kernel of "
    "7 nearest neighbours (its default, gamma = 20, does far worse on standardised features). Nystroem: "
    "`representation=Nystroem(gamma=0.3 / n_features, n_components=n_samples // 10)`. Defaults were chosen on other "
    "splits of these data and on other data."
)


def problem(name):
    from sklearn import datasets
    from sklearn.preprocessing import StandardScaler

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def split(y, per_class, seed):
    """Training rows, held-out rows, and the labels of the training rows, hidden ones as -1."""
    from sklearn.model_selection import train_test_split

    rng = np.random.default_rng(seed)
    train, test = train_test_split(np.arange(len(y)), test_size=0.3, random_state=seed, stratify=y)
    given = np.full(len(train), -1)
    for c in np.unique(y):
        given[rng.permutation(np.flatnonzero(y[train] == c))[:per_class]] = c
    return train, test, given


def methods(n, p):
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import LogisticRegression
    from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

    from skspar import InstanceCredibilityClassifier

    inner = LogisticRegression(max_iter=1000)
    kernel = Nystroem(gamma=0.3 / p, n_components=n // 10, random_state=0)
    return {
        "ours": InstanceCredibilityClassifier(inner),
        "ours, Nystroem": InstanceCredibilityClassifier(inner, representation=kernel),
        "self-training": SelfTrainingClassifier(inner),
        "label spreading": LabelSpreading(kernel="knn"),
        "labels only": inner,
    }


def results(name, per_class, n_splits):
    """Accuracies of each method on unlabeled and on held-out rows, of shape (n_splits, 2), and its seconds."""
    X, y = problem(name)
    found, seconds = {}, {}
    for seed in range(n_splits):
        train, test, given = split(y, per_class, seed)
        hidden = given == -1
        for method, model in methods(len(train), X.shape[1]).items():
            start = time.perf_counter()
            rows = ~hidden if method == "labels only" else slice(None)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.fit(X[train][rows], given[rows])
                seconds.setdefault(method, []).append(time.perf_counter() - start)
                unlabeled = np.mean(model.predict(X[train][hidden]) == y[train][hidden])
                held_out = np.mean(model.predict(X[test]) == y[test])
            found.setdefault(method, []).append((unlabeled, held_out))
    return {method: np.array(values) for method, values in found.items()}, seconds


def shown(values, sign=""):
    values = np.asarray(values)
    return f"{values.mean():{sign}.3f} ({values.std(ddof=1) / np.sqrt(len(values)):.3f})"


def tables(quick, wanted):
    n_splits = 4 if quick else 50
    title = f"Accuracy over {n_splits} splits"
    if not wanted(title):
        return
    rows, names = [], None
    for data in ("digits", "wine"):
        for per_class in (1, 3, 5):
            found, seconds = results(data, per_class, n_splits)
            names = list(found)
            for place, which in enumerate(("unlabeled", "held out")):
                ours = found["ours"][:, place]
                accuracies = [shown(found[name][:, place]) for name in names]
                gains = [shown(ours - found[name][:, place], "+") for name in ("self-training", "label spreading")]
                times = " / ".join(f"{np.median(seconds[name]):.2f}" for name in ("ours", "self-training"))
                rows.append((data, per_class, which, *accuracies, *gains, times))
    header = ("data", "labels a class", "rows", *names, "ours less self-training", "ours less label spreading",
              "seconds, ours / self-training")  # fmt: skip
    yield title, header, rows
