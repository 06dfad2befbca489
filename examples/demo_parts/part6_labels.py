"""Handwritten digits a tenth of whose labels are wrong: which ones, how surely, and what that does to a classifier."""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skspar import CleanLabelClassifier, NoisyLabelDetector, OutlierPathDisplay, label_noise_path
from skspar.datasets import make_label_noise

from . import COLOURS

TITLE = "some of the labels are wrong: which, and what did they do to the classifier?"

RATES = {"symmetric": 0.1, "pair": 0.2}
N_SPLITS = 3


def run(folder):
    X, y = load_digits(return_X_y=True)
    print(f"{len(y)} handwritten digits of {X.shape[1]} pixels. Labels are made wrong: a tenth of them anything else")
    print("(symmetric), or a fifth of them the next digit (pair), which is what a confused labeller does.")
    for kind, rate in RATES.items():
        compare(X, y, kind, rate)
    train(X, y)
    return [draw_worst(folder / "labels_worst.png", X, y), draw_path(folder / "labels_path.png", X, y)]


def classifier():
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))


def compare(X, y, kind, rate):
    """Precision and recall of what each method flags."""
    noisy, is_wrong = make_label_noise(y, kind=kind, rate=rate, random_state=0)
    detector = NoisyLabelDetector(random_state=0).fit(X, noisy)
    P = cross_val_predict(classifier(), X, noisy, cv=5, method="predict_proba")
    found = {
        "skspar, a tenth of false alarms allowed": detector.label_issues_mask_,
        "skspar, l1 path, the same": NoisyLabelDetector(penalty="l1", random_state=0).fit(X, noisy).label_issues_mask_,
        "held-out logistic regression disagrees": np.argmax(P, axis=1) != noisy,
    }
    print(f"\n{is_wrong.sum()} wrong labels, {kind}; estimated: {detector.noise_rate_ * len(y):.0f}")
    print(f"{'':42}{'flagged':>8}{'precision':>11}{'recall':>8}")
    for name, flagged in found.items():
        hits = (flagged & is_wrong).sum()
        print(f"{name:42}{flagged.sum():>8}{hits / max(flagged.sum(), 1):>11.3f}{hits / is_wrong.sum():>8.3f}")


def train(X, y):
    """Accuracy on clean test rows."""
    print(f"\nAccuracy of logistic regression on test digits with right labels, mean of {N_SPLITS} splits")
    print(f"{'':14}{'as it is':>10}{'cleaned':>10}{'no errors':>11}")
    for kind, rate in RATES.items():
        scores = []
        for seed in range(N_SPLITS):
            X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=1 / 3, random_state=seed)
            noisy, _ = make_label_noise(y_train, kind=kind, rate=rate, random_state=seed)
            models = (
                classifier().fit(X_train, noisy),
                CleanLabelClassifier(classifier()).fit(X_train, noisy),
                classifier().fit(X_train, y_train),
            )
            scores.append([model.score(X_test, y_test) for model in models])
        plain, clean, right = np.mean(scores, axis=0)
        print(f"{kind:14}{plain:>10.3f}{clean:>10.3f}{right:>11.3f}")


def draw_worst(file, X, y, n_rows=3, n_columns=8):
    """The digits of lowest quality, with the label given and the one suggested."""
    noisy, is_wrong = make_label_noise(y, rate=0.1, random_state=0)
    detector = NoisyLabelDetector(random_state=0).fit(X, noisy)
    worst = np.argsort(detector.label_quality_)[: n_rows * n_columns]
    figure, grid = plt.subplots(n_rows, n_columns, figsize=(9, 4.6))
    for axes, row in zip(grid.flat, worst):
        axes.imshow(X[row].reshape(8, 8), cmap="Greys")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_title(
            f"given {noisy[row]}, suggested {detector.suggested_labels_[row]}",
            fontsize=7,
            color="black" if is_wrong[row] else COLOURS[1],
            loc="center",
        )
    figure.suptitle(f"the {len(worst)} most doubtful of {len(y)} labels ({is_wrong[worst].sum()} are wrong)")
    return save(figure, file)


def draw_path(file, X, y):
    """Gamma of every row as the penalty falls, wrong labels in colour; a tenth of the digits, to see lines."""
    rows = np.random.default_rng(0).choice(len(y), 180, replace=False)
    X = X[rows][:, X[rows].std(axis=0) > 0.0][:, ::3]
    noisy, is_wrong = make_label_noise(y[rows], rate=0.1, random_state=0)
    path = label_noise_path(X, noisy, alphas=60, eps=0.1)
    display = OutlierPathDisplay.from_path(path, outlier_mask=is_wrong, max_labels=0)
    first = np.argsort(-path.entry_alphas)[: is_wrong.sum()]
    display.ax_.set_title(
        f"180 digits, {is_wrong.sum()} wrong labels (in colour): "
        f"{is_wrong[first].sum()} are among the first {len(first)} to enter"
    )
    return save(display.figure_, file)


def save(figure, file):
    figure.savefig(file)
    plt.close(figure)
    return file
