"""Robust regression: which outliers are found in published designs, and how long it takes."""

import time
import tracemalloc
import warnings

import numpy as np
from sklearn.linear_model import HuberRegressor, LassoCV, LinearRegression, RANSACRegressor
from sklearn.metrics import roc_auc_score

from skspar import SparseOutlierRegressor, outlier_path
from skspar.datasets import make_masking_outliers, make_outlier_regression

TITLE = "Sparse outliers"
TEXT = (
    "M: mean share of outliers missed; S: mean share of good rows flagged; JD: share of runs in which all outliers are "
    "found. Our thresholds by BIC unless said otherwise, the noise scale estimated. HuberRegressor flags what it down-"
    "weights (epsilon 2.5, for the same cut); RANSACRegressor what its consensus set leaves out (residual threshold "
    "2.5 times the true noise, which the others are not told)."
)


def _ours(penalty, alpha="bic"):
    def flags(X, y, seed):
        return SparseOutlierRegressor(penalty, alpha=alpha, random_state=seed).fit(X, y).outlier_mask_

    return flags


def _huber(X, y, seed):
    return HuberRegressor(epsilon=2.5, alpha=0.0, max_iter=1000).fit(X, y).outliers_


def _ransac(noise):
    def flags(X, y, seed):
        # every coefficient needs a clean row: a third of the way to certainty already takes thousands of trials
        model = RANSACRegressor(residual_threshold=2.5 * noise, max_trials=1000, random_state=seed)
        return ~model.fit(X, y).inlier_mask_

    return flags


def _methods(noise):
    return {
        "skspar, hard": _ours("hard"),
        "skspar, SCAD": _ours("scad"),
        "skspar, MCP": _ours("mcp"),
        "skspar, l1": _ours("l1"),
        "skspar, hard, Bonferroni": _ours("hard", "bonferroni"),
        "HuberRegressor": _huber,
        "RANSACRegressor": _ransac(noise),
    }


def _detection(draw, methods, n_runs):
    rows = []
    for name, flags in methods.items():
        missed, swamped, joint, taken = [], [], [], []
        for seed in range(n_runs):
            X, y, is_outlier = draw(seed)
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    mask = flags(X, y, seed)
                except ValueError:  # no consensus set
                    mask = np.zeros(len(y), dtype=bool)
            taken.append(time.perf_counter() - start)
            missed.append(np.mean(~mask[is_outlier]))
            swamped.append(np.mean(mask[~is_outlier]))
            joint.append(mask[is_outlier].all())
        rows.append((name, *(f"{np.mean(v):.4f}" for v in (missed, swamped)), f"{np.mean(joint):.2f}", np.mean(taken)))
    return rows


def _oracle(draw, n_runs):
    """The best cut of true residuals that any method could use, told everything but the noise: 2.5."""
    missed, swamped, joint = [], [], []
    for seed in range(n_runs):
        X, y, is_outlier = draw(seed)
        fit = LinearRegression().fit(X[~is_outlier], y[~is_outlier])
        mask = np.abs(y - fit.predict(X)) > 2.5
        missed.append(np.mean(~mask[is_outlier]))
        swamped.append(np.mean(mask[~is_outlier]))
        joint.append(mask[is_outlier].all())
    values = (f"{np.mean(missed):.4f}", f"{np.mean(swamped):.4f}", f"{np.mean(joint):.2f}")
    return [("oracle: fit to the good rows, cut at 2.5", *values, None)]


def _masking(n_runs):
    rows = []
    for name, flags in _methods(0.15).items():
        bad, good, clean, optimum = 0, 0, 0, 0
        for seed in range(n_runs):
            X, y, is_outlier = make_masking_outliers(random_state=seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                mask = flags(X, y, seed)
            found, spared = mask[:10].all(), not mask[10:14].any()
            bad, good = bad + found, good + spared
            clean += found and spared
            optimum += found and not mask[10:].any()
        rows.append((name, *(f"{count / n_runs:.2f}" for count in (bad, good, clean, optimum))))
    return rows


def _lts_optimum(n_runs):
    """How often the least trimmed squares fit leaves out all the bad rows."""
    from skspar._engine.indicator import DenseIndicator
    from skspar._engine.lts import coverage, least_trimmed_squares

    outside = 0
    for seed in range(n_runs):
        X, y, is_outlier = make_masking_outliers(random_state=seed)
        problem = DenseIndicator(X, y, np.ones(len(y)), True).problem
        beta, _ = least_trimmed_squares(problem, np.random.RandomState(seed), n_starts=3000)
        kept = np.argsort(np.abs(problem.y - problem.Q @ beta))[: int(coverage(len(y), 4))]
        outside += not is_outlier[kept].any()
    return [("share of draws whose LTS fit leaves out all bad rows", f"{outside / n_runs:.3f}")]


def _wide(seed, n=100, p=500):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    y = 3 * X[:, :5].sum(axis=1) + rng.standard_normal(n)
    is_outlier = np.arange(n) < 10
    y[is_outlier] += rng.choice([-1, 1], 10) * rng.uniform(10, 20, 10)
    return X, y, is_outlier


def _high_dimension(n_runs):
    def f1(coef):
        chosen = np.flatnonzero(coef)
        return 2 * np.sum(chosen < 5) / (len(chosen) + 5)

    def ours(refit):
        def fit(X, y, is_outlier):
            model = SparseOutlierRegressor(coef_alpha="ebic", refit=refit, random_state=0).fit(X, y)
            return model.coef_, model.outlier_score_

        return fit

    def lasso(clean):
        def fit(X, y, is_outlier):
            rows = ~is_outlier if clean else slice(None)
            model = LassoCV(cv=5).fit(X[rows], y[rows])
            return model.coef_, np.abs(y - model.predict(X))

        return fit

    methods = {
        "skspar, hard, extended BIC, refit": ours(True),
        "skspar, hard, extended BIC": ours(False),
        "LassoCV": lasso(False),
        "LassoCV on the good rows": lasso(True),
    }
    rows = []
    for name, fit in methods.items():
        scores, areas, taken = [], [], []
        for seed in range(n_runs):
            X, y, is_outlier = _wide(seed)
            start = time.perf_counter()
            coef, score = fit(X, y, is_outlier)
            taken.append(time.perf_counter() - start)
            scores.append(f1(coef))
            areas.append(roc_auc_score(is_outlier, score))
        rows.append((name, f"{np.mean(scores):.3f}", f"{np.mean(areas):.4f}", np.mean(taken)))
    return rows


def _large(n, p=20):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p))
    y = X @ rng.standard_normal(p) + rng.standard_normal(n)
    y[: n // 10] += 10
    return X, y


def _speed(n, repeats):
    X, y = _large(n)
    models = {
        "skspar l1, scale=1": SparseOutlierRegressor("l1", alpha=1.35, scale=1.0),
        "skspar l1, scale estimated": SparseOutlierRegressor("l1", alpha=1.35, random_state=0),
        "skspar hard, alpha=3": SparseOutlierRegressor("hard", alpha=3.0, random_state=0),
        "HuberRegressor": HuberRegressor(alpha=0.0, max_iter=1000),
        "RANSACRegressor": RANSACRegressor(random_state=0),
        "LinearRegression": LinearRegression(),
    }
    taken = {name: [] for name in models}
    for _ in range(repeats):
        for name, model in models.items():
            start = time.perf_counter()
            model.fit(X, y)
            taken[name].append(time.perf_counter() - start)
    huber = np.median(taken["HuberRegressor"])
    null = 0.5 * np.var(y)
    rows = []
    for name, model in models.items():
        median = np.median(taken[name])
        gap = getattr(model, "dual_gap_", np.nan) / null
        rows.append((name, median, f"{huber / median:.2f}", None if np.isnan(gap) else f"{gap:.1e}"))
    return rows


def _path_speed(n, repeats):
    X, y = _large(n)
    ours, ols = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        LinearRegression().fit(X, y)
        ols.append(time.perf_counter() - start)
        start = time.perf_counter()
        path = outlier_path(X, y, random_state=0)
        ours.append(time.perf_counter() - start)
    tracemalloc.start()
    outlier_path(X, y, random_state=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    a, b = np.median(ours), np.median(ols)
    return [(len(path.alphas), a, b, f"{a / b:.1f}", f"{peak / X.nbytes:.2f}")]


def tables(quick, wanted):
    """Titles, headers and rows."""
    n_runs = 5 if quick else 100
    header = ("method", "M", "S", "JD", "seconds")
    for n in (200, 1000):
        for leverage in (15.0, None):
            where = "X = 15 in every column of the outliers" if leverage else "no leverage"
            title = f"n = {n:,}, p = 15, 10 % shifted by 5, {where}"
            if not wanted(title):
                continue

            def draw(seed, n=n, leverage=leverage):
                return make_outlier_regression(n, 15, leverage=leverage, random_state=seed)

            yield title, header, _detection(draw, _methods(1.0), n_runs) + _oracle(draw, n_runs)
    title = "75 x 3, ten bad leverage points that mask each other and four good ones"
    if wanted(title):
        header = ("method", "all bad flagged", "no good leverage point flagged", "both", "and no other row")
        yield title, header, _masking(n_runs)
    title = "75 x 3, the design itself"
    if wanted(title):
        yield title, ("", "share"), _lts_optimum(20 if quick else 300)
    title = "100 x 500, five coefficients of 3, ten gross outliers"
    if wanted(title):
        header = ("method", "F1 of the support", "AUC of the outlier scores", "seconds")
        yield title, header, _high_dimension(2 if quick else 20)
    n = 100_000 if quick else 1_000_000
    title = f"Seconds, {n:,} x 20, 10 % outliers"
    if wanted(title):
        header = ("method", "seconds", "HuberRegressor's time / this", "relative gap")
        yield title, header, _speed(n, 1 if quick else 5)
    title = "Path of hard thresholds, 100,000 x 20, least trimmed squares included"
    if wanted(title):
        header = ("thresholds", "seconds", "one LinearRegression", "ratio", "peak memory / X")
        yield title, header, _path_speed(100_000, 1 if quick else 5)
