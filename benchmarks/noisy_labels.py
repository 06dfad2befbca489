"""Noisy labels: which are found, whether error rates are kept, what training on the rest is worth, and the time."""

import time
import warnings

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, enet_path
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict, train_test_split
from sklearn.preprocessing import StandardScaler

from skspar import CleanLabelClassifier, NoisyLabelDetector, label_noise_path
from skspar._engine.row_basis import RowBasis
from skspar._engine.row_norm import RowNormHuber
from skspar.datasets import make_label_noise

TITLE = "Noisy labels"
TEXT = (
    "Standardised features. cleanlab is `get_label_quality_scores` (self confidence) and `find_label_issues` on "
    "five-fold out-of-fold probabilities of logistic regression (LR) or histogram gradient boosting (GB, 50 "
    "iterations); margin is the given label's out-of-fold probability less the largest other, by scikit-learn alone; "
    "OLS the length of the least-squares residual of the one-hot code. Means over ten seeds, of training four; F1 at "
    "the default cut of each. Nystroem is `representation=Nystroem(n_components=300)` of p features, with gamma = 1 /"
    " (4 p), which is about one over twice the median squared distance (of 1, 1/2, 1/4 and 1/10 over p it has the "
    "best F1 on three of the seeds), and with its default, 1 / p. Error rates are means over 200 tables of 1,000 rows"
    " (40 for knockoffs and for instance noise, which is wrong where classes overlap), an exclamation mark where one "
    "exceeds its level by two standard errors; beside them what is right among the flagged or kept, as a share of "
    "what the best cut of the same scores finds, told the truth. Where no selection is valid that share counts as "
    "zero, and no rate is told."
)
DATA = ("digits", "breast cancer", "wine", "7 classes")
RATES = (0.05, 0.1, 0.2, 0.4)
MEASURES = ("AUROC", "AUPRC", "F1")


def seven_classes(seed, n=2000, p=12):
    """Two clusters a class, shares from 1 to 48 %, covariances of their own, two features transformed."""
    rng = np.random.default_rng(seed)
    sizes = (np.array([0.36, 0.48, 0.06, 0.01, 0.02, 0.03, 0.04]) * n).astype(int)
    X = []
    for size in sizes:
        centres = 1.1 * rng.normal(size=(2, p))
        mix = 0.5 * np.eye(p) + 0.5 * rng.normal(size=(p, p)) / np.sqrt(p)
        X.append(centres[rng.integers(2, size=size)] + rng.normal(size=(size, p)) @ mix)
    X = np.vstack(X)
    X[:, 0], X[:, 1] = np.exp(0.5 * X[:, 0]), X[:, 1] ** 2
    return X, np.repeat(np.arange(7), sizes)


def load(name, seed):
    if name == "7 classes":
        X, y = seven_classes(seed)
    else:
        loader = {"digits": load_digits, "breast cancer": load_breast_cancer, "wine": load_wine}[name]
        X, y = loader(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def _boosting():
    return HistGradientBoostingClassifier(max_iter=50, random_state=0)


def _out_of_fold(model, X, y):
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return cross_val_predict(model, X, y, cv=folds, method="predict_proba")


def _margin(P, y):
    own = P[np.arange(len(y)), y]
    others = P.copy()
    others[np.arange(len(y)), y] = -1.0
    return own - others.max(axis=1)


def _ols(X, y):
    A = np.column_stack([np.ones(len(X)), X])
    codes = np.eye(y.max() + 1)[y]
    return -np.linalg.norm(codes - A @ np.linalg.lstsq(A, codes, rcond=None)[0], axis=1)


def _cleanlab(P, y):
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    return get_label_quality_scores(y, P), find_label_issues(y, P)


def _ours(X, y, **options):
    detector = NoisyLabelDetector(random_state=0, **options).fit(X, y)
    return detector.label_quality_, detector.label_issues_mask_


def judged(X, y, boosting):
    """Qualities and masks of each method."""
    found = {}
    if boosting:
        P = _out_of_fold(_boosting(), X, y)
        found["cleanlab + GB"] = _cleanlab(P, y)
        kernel = Nystroem(gamma=0.25 / X.shape[1], n_components=300, random_state=0)
        found["skspar, Nystroem"] = _ours(X, y, representation=kernel)
        found["skspar, Nystroem, gamma 1/p"] = _ours(X, y, representation=clone(kernel).set_params(gamma=None))
        found["skspar"] = _ours(X, y)
        return found
    found["skspar"] = _ours(X, y)
    found["skspar, l1"] = _ours(X, y, penalty="l1")
    found["OLS"] = _ols(X, y), None
    P = _out_of_fold(LogisticRegression(max_iter=1000), X, y)
    found["margin, LR"] = _margin(P, y), None
    found["cleanlab + LR"] = _cleanlab(P, y)
    return found


def _measure(is_wrong, quality, mask):
    f1 = np.nan if mask is None else f1_score(is_wrong, mask, zero_division=0.0)
    return roc_auc_score(is_wrong, -quality), average_precision_score(is_wrong, -quality), f1


def detection(n_seeds, boosting=False, data=DATA, rates=RATES):
    """Measures, indexed by (data, kind, rate), method, seed."""
    results = {}
    for name in data:
        for kind in ("symmetric", "pair"):
            for rate in rates:
                if name == "breast cancer" and kind == "pair":
                    continue  # two classes: the same as symmetric
                cells = {}
                for seed in range(n_seeds):
                    X, y = load(name, seed)
                    noisy, is_wrong = make_label_noise(y, kind=kind, rate=rate, random_state=seed)
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        for method, (quality, mask) in judged(X, noisy, boosting).items():
                            cells.setdefault(method, []).append(_measure(is_wrong, quality, mask))
                results[name, kind, rate] = {method: np.array(values) for method, values in cells.items()}
    return results


def detection_rows(results):
    methods = list(next(iter(results.values())))
    for k, measure in enumerate(MEASURES):
        for (name, kind, rate), cells in results.items():
            shown = [np.nan if np.isnan(cells[m][:, k]).all() else np.nanmean(cells[m][:, k]) for m in methods]
            yield (measure, name, kind, f"{rate:.0%}", *("" if np.isnan(v) else f"{v:.3f}" for v in shown))
        means = [np.mean([cells[m][:, k].mean() for cells in results.values()]) for m in methods]
        yield (measure, "mean", "", "", *("" if np.isnan(v) else f"**{v:.3f}**" for v in means))


def worse_rows(results):
    """Where the default is worse than another method by more than two standard errors of the paired difference."""
    for cell, cells in results.items():
        for method, values in cells.items():
            if method.startswith("skspar"):
                continue
            for k, measure in enumerate(MEASURES):
                difference = cells["skspar"][:, k] - values[:, k]
                error = difference.std(ddof=1) / np.sqrt(len(difference))
                if difference.mean() < -2.0 * error and difference.mean() < 0.0:
                    name, kind, rate = cell
                    yield (measure, name, kind, f"{rate:.0%}", method, f"{difference.mean():.4f}", f"{error:.4f}")


def gaussian_classes(kind, seed, n=1000, p=10):
    """Classes whose log odds are linear: five, or two with a Bayes error of 5 or 15 %."""
    from scipy.stats import norm

    rng = np.random.default_rng(seed)
    if kind == "5 classes":
        centres = rng.normal(size=(5, p))
        centres *= 2.6 / np.linalg.norm(centres, axis=1, keepdims=True)
        y = rng.integers(5, size=n)
        return centres[y] + rng.normal(size=(n, p)), y
    y = rng.integers(2, size=n)
    X = rng.normal(size=(n, p))
    X[:, 0] += norm.isf(0.05 if "5 %" in kind and "15" not in kind else 0.15) * (2 * y - 1)
    return X, y


LEVELS = (0.05, 0.1, 0.2)
CLASSES = ("5 classes", "2 classes, Bayes error 5 %", "2 classes, Bayes error 15 %")


def _oracle(is_wrong, quality, level, of_flagged):
    """What the best cut of the same scores finds, told the truth."""
    order = np.argsort(quality, kind="stable")
    wrong = np.cumsum(is_wrong[order])
    size = np.arange(1, len(order) + 1)
    if of_flagged:
        allowed = np.flatnonzero(1.0 - wrong / size <= level)
        return wrong[allowed[-1]] if len(allowed) else 0
    right = np.cumsum((~is_wrong)[order[::-1]])
    allowed = np.flatnonzero(1.0 - right / size <= level)
    return right[allowed[-1]] if len(allowed) else 0


def error_rates(n_runs, noise="symmetric", cut="fdr", levels=LEVELS, classes=CLASSES, rates=(0.0, *RATES), n_rows=1000):
    rows = []
    for kind in classes:
        for rate in rates:
            values = {level: [] for level in levels}
            for seed in range(n_runs):
                X, y = gaussian_classes(kind, seed, n_rows)
                of_x = {"X": X} if noise == "instance" else {}
                noisy, is_wrong = make_label_noise(y, kind=noise, rate=rate, random_state=seed, **of_x)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    detector = NoisyLabelDetector(cut=cut, level=levels[0], random_state=seed).fit(X, noisy)
                    for level in levels:
                        detector.set_params(level=level)
                        if level != levels[0]:
                            detector.fit(X, noisy)
                        mask = detector.label_issues_mask_
                        oracle = _oracle(is_wrong, detector.label_quality_, level, cut == "fdr")
                        chosen = mask if cut == "fdr" else ~mask
                        bad = ~is_wrong if cut == "fdr" else is_wrong
                        proportion = (chosen & bad).sum() / max(chosen.sum(), 1)
                        power = (chosen & ~bad).sum() / oracle if oracle else np.nan
                        if cut != "fdr" and not detector.valid_cut_:
                            # all are kept then, and nothing is said of them
                            proportion, power = np.nan, 0.0
                        values[level].append((proportion, power, mask.any()))
            row = [kind, noise, f"{rate:.0%}"]
            for level in levels:
                proportion, power, found = np.array(values[level], dtype=float).T
                n = np.sum(~np.isnan(proportion))
                error = np.nanstd(proportion) / np.sqrt(max(n, 1))
                bad = np.nanmean(proportion) > level + 2.0 * error if n else False
                row.append(f"{np.nanmean(proportion) if n else np.nan:.3f} ({error:.3f}){' !' if bad else ''}")
                row.append("" if np.isnan(power).all() else f"{np.nanmean(power):.2f}")
                row.append(f"{found.mean():.2f}" if cut == "fdr" else f"{n / n_runs:.2f}")
            rows.append(tuple(row))
    return rows


def training(n_seeds, models, data=DATA, rates=(0.0, 0.05, 0.2, 0.4)):
    """Accuracy on clean test rows after training on noisy ones, cleaned or not."""
    from cleanlab.classification import CleanLearning

    rows, paired = [], {}
    for title, model in models.items():
        for name in data:
            for kind in ("symmetric", "pair"):
                if kind == "pair" and name == "breast cancer":
                    continue
                for rate in rates:
                    if kind == "pair" and rate == 0.0:
                        continue
                    scores = {}
                    for seed in range(n_seeds):
                        X, y = load(name, seed)
                        split = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
                        X_train, X_test, y_train, y_test = split
                        noisy, _ = make_label_noise(y_train, kind=kind, rate=rate, random_state=seed)
                        with warnings.catch_warnings():
                            warnings.simplefilter("ignore")
                            for handle in ("drop", "weight", "relabel"):
                                clean = CleanLabelClassifier(model(), handle=handle)
                                score = clean.fit(X_train, noisy).score(X_test, y_test)
                                scores.setdefault(f"skspar, {handle}", []).append(score)
                            scores.setdefault("none", []).append(model().fit(X_train, noisy).score(X_test, y_test))
                            try:
                                learner = CleanLearning(model(), seed=0, cv_n_folds=5).fit(X_train, noisy)
                                score = np.mean(learner.predict(X_test) == y_test)
                            except ValueError:  # a class too small for its folds
                                score = np.nan
                            scores.setdefault("CleanLearning", []).append(score)
                    rows.append((title, name, kind, f"{rate:.0%}", *(f"{np.nanmean(v):.3f}" for v in scores.values())))
                    for method, values in scores.items():
                        paired.setdefault((title, rate), {}).setdefault(method, []).extend(values)
    for (title, rate), scores in paired.items():
        base = np.array(scores["none"])
        cells = []
        for values in scores.values():
            difference = np.array(values) - base
            difference = difference[~np.isnan(difference)]
            cells.append(f"{difference.mean():+.4f} ({difference.std(ddof=1) / np.sqrt(len(difference)):.4f})")
        rows.append((title, "**all, less none**", "", f"{rate:.0%}", *cells))
    return ("model", "data", "noise", "rate", *list(next(iter(paired.values())))), rows


def timed(function, repeats=3):
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def _path_problem(n=2000, p=20, n_classes=10):
    rng = np.random.default_rng(0)
    y = rng.integers(n_classes, size=n)
    X = rng.normal(size=(n_classes, p))[y] + rng.normal(size=(n, p))
    return X, make_label_noise(y, rate=0.1, random_state=0)[0]


def path_speed():
    """Seconds for a path, ours and the multi-task Lasso's on the dense form, and the gaps both reach."""
    X, y = _path_problem()
    Y = np.eye(10)[y]
    A = np.column_stack([np.ones(len(X)), X])
    Q = np.linalg.qr(A)[0]
    dense = np.eye(len(X)) - Q @ Q.T
    left = dense @ Y
    top = np.linalg.norm(left, axis=1).max()
    alphas = np.geomspace(top, 0.02 * top, 30)
    null = 0.5 * np.sum((Y - Y.mean(axis=0)) ** 2)
    rows = []
    start = time.perf_counter()
    _, _, gaps = enet_path(dense, left, l1_ratio=1.0, alphas=alphas / len(X), tol=1e-4)
    theirs = time.perf_counter() - start
    reached = float(np.max(gaps) * len(X) / null)
    for tol in (reached, 1e-9):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = label_noise_path(X, y, alphas=alphas, tol=tol)
        seconds = timed(lambda tol=tol: label_noise_path(X, y, alphas=alphas, tol=tol))
        gap = float(path.dual_gaps.max() * len(X) / null)
        rows.append(("label_noise_path, entries included", gap, seconds, f"{theirs / seconds:.0f}"))
    basis = RowBasis(X, np.ones(len(X)), True)
    problem = RowNormHuber(basis.Q, Y - Y.mean(axis=0), np.ones(len(X)))
    gap = max(fit.gap for fit in problem.path(alphas, reached)) / null
    seconds = timed(lambda: list(problem.path(alphas, reached)))
    rows.append(("the same without entries between alphas", float(gap), seconds, f"{theirs / seconds:.0f}"))
    rows.append(("enet_path on I - H", reached, theirs, ""))
    return rows


def detector_speed():
    X, y = load("digits", 0)
    noisy, _ = make_label_noise(y, rate=0.1, random_state=0)
    ours = lambda: NoisyLabelDetector(random_state=0).fit(X, noisy)  # noqa: E731
    theirs = lambda: _cleanlab(_out_of_fold(LogisticRegression(max_iter=1000), X, noisy), noisy)  # noqa: E731
    ours(), theirs()
    # several in a row: after cleanlab's processes BLAS has to start its threads again, whoever calls it first
    taken = np.array([(timed(ours, 5), timed(theirs, 5)) for _ in range(5)])
    ratio = np.median(taken[:, 1] / taken[:, 0])
    X, y = _path_problem(50_000, 64)
    import tracemalloc

    seconds = timed(lambda: NoisyLabelDetector(random_state=0).fit(X, y), 1)
    tracemalloc.start()
    NoisyLabelDetector(random_state=0).fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return [
        ("digits", "skspar", np.median(taken[:, 0]), ""),
        ("digits", "cleanlab + LR", np.median(taken[:, 1]), f"{ratio:.1f} times ours"),
        ("50,000 x 64, 10 classes", "skspar", seconds, f"peak memory {peak / X.nbytes:.1f} times X"),
    ]


def tables(quick, wanted):
    header = ("measure", "data", "noise", "rate")
    if wanted("Detection, linear"):
        results = detection(2, data=("wine",)) if quick else detection(10)
        yield "Detection, linear", (*header, *next(iter(results.values()))), list(detection_rows(results))
        title = "Detection, linear: rows where the default is worse by more than two standard errors"
        yield title, (*header, "than", "by", "standard error"), list(worse_rows(results)) or [("none",) + ("",) * 6]
    if wanted("Detection, non-linear"):
        results = detection(2, True, ("wine",)) if quick else detection(10, True)
        yield "Detection, non-linear", (*header, *next(iter(results.values()))), list(detection_rows(results))
    n_runs = 6 if quick else 200
    header = ["data", "noise", "rate"]
    for level in ("0.05", "0.1", "0.2"):
        header += [f"level {level}", "of oracle", "flags any"]
    for noise in ("symmetric", "pair"):
        title = f"False discovery rate, {noise}"
        if wanted(title):
            classes = CLASSES if noise == "symmetric" else CLASSES[:1]
            rates = (0.0, *RATES) if noise == "symmetric" else RATES
            yield title, tuple(header), error_rates(n_runs, noise, classes=classes, rates=rates)
    header = [name.replace("flags any", "valid") for name in header]
    for cut, of_cut, n_cuts in (("fsr", "", n_runs), ("knockoff", ", knockoffs", n_runs // 5)):
        for noise in ("symmetric", "pair", "instance"):
            title = f"False selection rate{of_cut}, {noise}"
            if wanted(title):
                classes = CLASSES[:1] if noise == "pair" else CLASSES
                runs = n_runs // 5 if noise == "instance" else n_cuts
                yield title, tuple(header), error_rates(runs, noise, cut, classes=classes, rates=RATES)
    title = "Error rates by number of rows, 2 classes, Bayes error 5 %, 40 % symmetric"
    if wanted(title):
        rows = []
        for cut in ("fdr", "fsr"):
            for n_rows in (1000, 4000, 10_000):
                row = error_rates(n_runs // 5, cut=cut, classes=CLASSES[1:2], rates=(0.4,), n_rows=n_rows)[0]
                rows.append((f"{cut} of {n_rows:,}", *row[3:]))
        yield title, ("cut", *(name.replace("valid", "flags any, or valid") for name in header[3:])), rows
    for name, model in {"LR": lambda: LogisticRegression(max_iter=1000), "GB": _boosting}.items():
        if wanted(f"Training on the rest, {name}"):
            header, rows = training(1, {name: model}, ("wine",)) if quick else training(4, {name: model})
            yield f"Training on the rest, {name}", header, rows
    if wanted("Path, 2,000 x 20, 10 classes, 30 alphas") and not quick:
        yield "Path, 2,000 x 20, 10 classes, 30 alphas", ("solver", "gap", "seconds", "times faster"), path_speed()
    if wanted("Detector") and not quick:
        yield "Detector", ("data", "method", "seconds", ""), detector_speed()
