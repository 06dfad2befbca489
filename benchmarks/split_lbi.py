"""Split-LBI: the published table, prediction beside the Lasso's family, speed beside the recursion in NumPy."""

import time

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

TITLE = "Split-LBI"
TEXT = (
    "First entries are ranked by the step at which a feature becomes nonzero, features that never enter last. Ours "
    "against the recursion in vectorised NumPy (products with X, and where rows outnumber columns with X'X too), timed "
    "on some of its steps; both take the same steps. Runs are interleaved, medians; BLAS has one thread on either "
    "side, as others at work on the machine make two wait for each other, but for the fused signal, where ours steps "
    "parts of the chain in two. Standard errors in brackets."
)


# --- the published table


def published_problem(rng):
    """n = p = 50, blocks of -2, 2 and -2, noise of standard deviation one (Huang et al. 2016, table 1)."""
    beta = np.zeros(50)
    beta[7:12], beta[20:25], beta[32:37] = -2.0, 2.0, -2.0
    X = rng.normal(size=(50, 50))
    return X, X @ beta + rng.normal(size=50), beta != 0


def published_table(quick):
    from sklearn.metrics import roc_auc_score

    from skspar import group_lasso_path, split_lbi_path

    published = {1.0: (0.98442, 0.01868), 5.0: (0.99688, 0.00646), 10.0: (0.99819, 0.00412)}
    repeats = 20 if quick else 400
    aucs = {nu: [] for nu in [*published, "lasso"]}
    for seed in range(repeats):
        X, y, truth = published_problem(np.random.default_rng([8, seed]))
        for nu in published:
            options = dict(kappa=200.0, kappa_units="raw", t_ratio=20.0, n_times=20, fit_intercept=False)
            first = split_lbi_path(X, y, nu=nu, **options).first_entry
            aucs[nu].append(roc_auc_score(truth, -np.where(np.isfinite(first), first, 1e300)))
        alphas, coefs, _ = group_lasso_path(X, y, alphas=1000, eps=1e-4)
        entered = (coefs != 0).any(axis=1)
        at = np.where(entered, alphas[np.argmax(coefs != 0, axis=1)], -1.0)
        aucs["lasso"].append(roc_auc_score(truth, at))
    for nu, values in aucs.items():
        mean, sd = np.mean(values), np.std(values, ddof=1)
        row = [f"split, nu = {nu:g}" if nu != "lasso" else "Lasso path", f"{mean:.5f} ({sd / np.sqrt(repeats):.5f})"]
        row += [f"{sd:.5f}"]
        if nu in published:
            known, spread = published[nu]
            joint = np.sqrt(spread**2 / 100 + sd**2 / repeats)
            row += [f"{known:.5f}", f"{spread:.5f}", f"{(mean - known) / joint:+.2f}"]
        else:
            row += ["", "", ""]
        yield row


# --- prediction


def group_signal(rng):
    beta = np.zeros(80)
    for g in rng.choice(16, 3, replace=False):
        beta[5 * g : 5 * g + 5] = rng.choice([-2.0, 2.0])
    X = rng.normal(size=(1120, 80))
    y = X @ beta + 2.0 * rng.normal(size=1120)
    return X[:120], y[:120], X[120:], y[120:], beta


def fused_signal(rng):
    beta = np.zeros(80)
    for start in (10, 40, 60):
        beta[start : start + 8] = rng.choice([-2.0, 2.0])
    X = rng.normal(size=(1120, 80))
    y = X @ beta + 2.0 * rng.normal(size=1120)
    return X[:120], y[:120], X[120:], y[120:], beta


def strong_signal(rng):
    beta = np.zeros(80)
    beta[rng.choice(80, 8, replace=False)] = rng.choice([-5.0, 5.0], 8)
    X = rng.normal(size=(1120, 80))
    y = X @ beta + rng.normal(size=1120)
    return X[:120], y[:120], X[120:], y[120:], beta


def predictions(signal, quick):
    from sklearn.linear_model import ElasticNetCV, LassoCV

    from skspar import GroupLassoCV, SplitLBICV

    models = {
        "SplitLBICV(nu=None)": SplitLBICV(None),
        "SplitLBICV(nu=None, 1se)": SplitLBICV(None, selection_rule="1se"),
        "SplitLBICV()": SplitLBICV(),
        "SplitLBICV(1se)": SplitLBICV(selection_rule="1se"),
    }
    if signal is group_signal:
        models["SplitLBICV(groups=5)"] = SplitLBICV(groups=5)
        models["SplitLBICV(groups=5, 1se)"] = SplitLBICV(groups=5, selection_rule="1se")
        models["SplitLBICV(nu=None, groups=5, 1se)"] = SplitLBICV(None, groups=5, selection_rule="1se")
        models["GroupLassoCV(groups=5)"] = GroupLassoCV(groups=5)
        models["GroupLassoCV(groups=5, 1se)"] = GroupLassoCV(groups=5, selection_rule="1se")
    if signal is fused_signal:
        models['SplitLBICV(D="fused+identity")'] = SplitLBICV(D="fused+identity")
        models['SplitLBICV(D="fused+identity", 1se)'] = SplitLBICV(D="fused+identity", selection_rule="1se")
        models["GroupLassoCV(groups=4)"] = GroupLassoCV(groups=4)
    models["LassoCV"] = LassoCV(cv=5)
    models["ElasticNetCV(l1_ratio=[.1, .5, .9])"] = ElasticNetCV(cv=5, l1_ratio=[0.1, 0.5, 0.9])
    repeats = 3 if quick else 50
    found = {name: [] for name in models}
    for seed in range(repeats):
        X, y, X_test, y_test, beta = signal(np.random.default_rng([88, seed]))
        for name, model in models.items():
            b = model.fit(X, y).coef_
            error = np.mean((y_test - model.predict(X_test)) ** 2)
            true, chosen = beta != 0, np.abs(b) > 1e-10
            f1 = 2.0 * np.sum(true & chosen) / (true.sum() + chosen.sum())
            found[name].append((error, np.linalg.norm(b - beta), f1))
    for name, values in found.items():
        mean, se = np.mean(values, axis=0), np.std(values, axis=0, ddof=1) / np.sqrt(repeats)
        yield [name, *(f"{m:.3f} ({s:.3f})" for m, s in zip(mean, se))]


# --- speed


def timed(function, *arguments, **options):
    start = time.perf_counter()
    result = function(*arguments, **options)
    return time.perf_counter() - start, result


def shrink(z):
    return np.sign(z) * np.maximum(np.abs(z) - 1.0, 0.0)


def numpy_plain(X, y, kappa, delta, steps):
    n, p = X.shape
    z, b = np.zeros(p), np.zeros(p)
    for _ in range(steps):
        z += delta / n * (X.T @ (y - X @ b))
        b = kappa * shrink(z)
    return b


def numpy_gram(X, y, kappa, delta, steps):
    n, p = X.shape
    G, q = X.T @ X / n, X.T @ y / n
    z, b = np.zeros(p), np.zeros(p)
    for _ in range(steps):
        z += delta * (q - G @ b)
        b = kappa * shrink(z)
    return b


def numpy_logistic(X, y, kappa, delta, steps):
    n, p = X.shape
    z, b = np.zeros(p), np.zeros(p)
    for _ in range(steps):
        z += delta / n * (X.T @ (y - 1.0 / (1.0 + np.exp(-(X @ b)))))
        b = kappa * shrink(z)
    return b


def numpy_fused(y, nu, kappa, delta, steps):
    """X the identity times sqrt(n)."""
    p = len(y)
    b, z, g, pull = np.zeros(p), np.zeros(p - 1), np.zeros(p - 1), np.empty(p)
    for _ in range(steps):
        gap = np.diff(b) - g
        pull[0], pull[-1] = -gap[0], gap[-1]
        np.subtract(gap[:-1], gap[1:], out=pull[1:-1])
        b = b - kappa * delta * ((b - y) + pull / nu)
        z += delta / nu * gap
        g = kappa * shrink(z)
    return b


def sparse_signal(n, p, seed=0):
    rng = np.random.default_rng(seed)
    X, b = rng.normal(size=(n, p)), np.zeros(p)
    b[:20] = 2.0
    return X, X @ b + rng.normal(size=n)


def speed(quick):
    from skspar import inverse_scale_space_path, split_lbi_path

    raw = dict(nu=None, kappa=64.0, kappa_units="raw", t_ratio=100.0, fit_intercept=False)
    cases = []
    for n, p in [(200, 1000), (1000, 200)] if quick else [(200, 1000), (1000, 200), (500, 5000)]:
        X, y = sparse_signal(n, p)
        cases.append((
            f"plain, {n} x {p:,}",
            lambda X=X, y=y: split_lbi_path(X, y, **raw),
            lambda k, d, s, X=X, y=y: numpy_plain(X, y, k, d, s),
        ))  # fmt: skip
        if n > p:
            cases.append((
                f"plain, {n} x {p:,}, NumPy with X'X",
                lambda X=X, y=y: split_lbi_path(X, y, **raw),
                lambda k, d, s, X=X, y=y: numpy_gram(X, y, k, d, s),
            ))  # fmt: skip
    X, y = sparse_signal(1000, 1000)
    label = (y > 0).astype(float)
    cases.append((
        "plain logistic, 1000 x 1,000",
        lambda: split_lbi_path(X, label, loss="logistic", **raw),
        lambda k, d, s: numpy_logistic(X, label, k, d, s),
    ))  # fmt: skip
    rng = np.random.default_rng(0)
    p = 10_000
    signal = np.repeat(3.0 * rng.normal(size=20), p // 20) + rng.normal(size=p)
    eye = sparse.eye_array(p, format="csr") * np.sqrt(p)
    cases.append((
        "fused signal, p = 10,000 (X the identity)",
        lambda: split_lbi_path(eye, np.sqrt(p) * signal, D="fused", fit_intercept=False, t_ratio=20.0),
        lambda k, d, s: numpy_fused(signal, 1.0, k, d, s),
    ))  # fmt: skip
    for name, ours, theirs in cases:
        # the fused recursion calls no BLAS: two are how many threads may step its chain
        with threadpool_limits(2 if name.startswith("fused") else 1, user_api="blas"):
            path = ours()
            steps = int(path.n_steps[-1])
            some = min(steps, 300 if quick else 1000)
            seconds, per_step = [], []
            for _ in range(3 if quick else 7):
                seconds.append(timed(ours)[0])
                per_step.append(timed(theirs, path.kappa, path.step, some)[0] / some)
        mine, his = np.median(seconds), np.median(per_step) * steps
        yield [name, f"{steps:,}", mine, his, f"{his / mine:.1f}"]
    for n, p in [(200, 1000), (1000, 200)] if quick else [(200, 1000), (1000, 200), (500, 5000)]:
        X, y = sparse_signal(n, p)
        seconds, path = timed(inverse_scale_space_path, X, y, fit_intercept=False)
        yield [f"inverse scale space, {n} x {p:,}, to the end", f"{len(path.times):,} events", seconds, None, None]


def damping(quick):
    """What more damping costs, and what it gives."""
    from skspar import inverse_scale_space_path, split_lbi_path

    X, y = sparse_signal(200, 50)
    for nu in (None, 1.0):
        limit = inverse_scale_space_path(X, y, nu=nu)
        for kappa in (5.0, 20.0, 50.0, 200.0, 1000.0):
            seconds, path = timed(split_lbi_path, X, y, nu=nu, kappa=kappa)
            at = np.searchsorted(limit.times, path.times, side="right") - 1
            exact = np.where(at >= 0, limit.gammas[:, at], 0.0)
            distance = np.abs(path.gammas - exact).sum(axis=0).mean() / np.abs(exact).sum(axis=0).mean()
            yield [f"nu = {nu}", kappa, f"{path.n_steps[-1]:,}", seconds, f"{distance:.4f}"]


def folds(quick):
    from skspar import SplitLBI, SplitLBICV

    for n, p in [(1000, 200), (5000, 200), (20_000, 200)]:
        X, y = sparse_signal(n, p)
        for nu in (None, 1.0):
            fits = [SplitLBI(nu).fit, SplitLBICV(nu, cv=5, n_jobs=1).fit, SplitLBICV(nu, cv=5, n_jobs=2).fit]
            seconds = [[timed(fit, X, y)[0] for fit in fits] for _ in range(3 if quick else 9)]
            one, *several = np.median(seconds, axis=0)
            yield [f"{n:,} x {p}, nu = {nu}", one, *several, *(f"{cv / one:.2f}" for cv in several)]


def projection(quick):
    import resource

    from skspar import split_lbi_path

    rng = np.random.default_rng(0)
    nodes = 100_000
    edges = np.unique(np.sort(rng.integers(0, nodes, (200_600, 2)), axis=1), axis=0)
    edges = edges[edges[:, 0] < edges[:, 1]][:200_000]
    truth = np.repeat([0.0, 3.0], nodes // 2)
    signal = truth + 0.5 * rng.normal(size=nodes)
    eye = sparse.eye_array(nodes, format="csr") * np.sqrt(nodes)
    options = dict(D=edges, fit_intercept=False, kappa=5.0, t_ratio=5.0, n_times=10)
    seconds, path = timed(split_lbi_path, eye, np.sqrt(nodes) * signal, **options)
    # the highest so far: what other tables used is in it
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    from skspar._engine.split_operator import SplitOperator
    from skspar._split_problem import _operator

    operator = SplitOperator(_operator(edges, nodes))
    support = path.gammas[:, -1] != 0
    alone = timed(operator.projected, path.coefs[:, -1:], support)[0]
    yield ["the projection alone, 200,000 edges, 100,000 nodes", alone, None]
    yield [f"a path of 10 times, {path.n_steps[-1]:,} steps, with projections", seconds, peak / 1024]


def tables(quick, wanted):
    """Titles, headers and rows."""
    errors = ("model", "test error (noise 4)", "norm of b - beta", "support F1")
    jobs = [
        (
            "AUC of the order of entry, 400 repeats",
            ("path", "mean AUC", "sd", "published", "published sd", "joint standard errors"),
            published_table,
        ),
        ("prediction, groups of 5 of 80 features, n = 120", errors, lambda quick: predictions(group_signal, quick)),
        ("prediction, runs of 8 of 80 features, n = 120", errors, lambda quick: predictions(fused_signal, quick)),
        (
            "prediction, 8 strong of 80 features, n = 120",
            ("model", "test error (noise 1)", *errors[2:]),
            lambda quick: predictions(strong_signal, quick),
        ),
        ("speed beside NumPy", ("problem", "steps", "seconds", "NumPy seconds", "NumPy / ours"), speed),
        ("damping", ("200 x 50", "kappa", "steps", "seconds", "distance to the limit"), damping),
        (
            "5-fold cross-validation",
            ("problem", "one path", "cross-validation", "the same in 2 threads", "ratio", "in 2 threads"),
            folds,
        ),
        ("projection on a large graph", ("what", "seconds", "MB of the process at most"), projection),
    ]
    for title, header, rows in jobs:
        if wanted(title):
            with threadpool_limits(1, user_api="blas"):
                yield title, header, list(rows(quick))
