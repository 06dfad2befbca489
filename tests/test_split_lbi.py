"""Split-LBI paths beside the recursion as the papers state it, the inverse scale space limit, and projections."""

import numpy as np
import pytest
from _bregman import best_intercept, dense, mean_of, projection, recursion, shrink, steepest_norm, targets
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator
from scipy.special import expit

from skspar import SplitLBI, SplitLBICV, inverse_scale_space_path, split_lbi_path
from skspar._engine import bregman
from skspar._engine._bregman import residual
from skspar._engine.split_operator import SplitOperator

LOSSES = ["squared", "logistic", "multinomial"]


def random_problem(rng, loss, n, p, density=1.0, signal=4):
    X = rng.normal(size=(n, p)) + rng.normal(size=p)
    if density < 1.0:
        X *= rng.random((n, p)) < density
    eta = X[:, :signal] @ rng.normal(scale=2.0, size=signal) + rng.normal(size=n)
    if loss == "squared":
        return X, eta
    y = np.digitize(eta, np.quantile(eta, [0.5] if loss == "logistic" else [0.3, 0.6]))
    return X, y


def operator(kind, rng, p):
    if kind == "none":
        return None, None
    if kind == "fused":
        return "fused", np.diff(np.eye(p), axis=0)
    if kind == "fused+identity":
        return kind, np.vstack([np.diff(np.eye(p), axis=0), np.eye(p)])
    if kind == "edges":
        edges = [(i, j) for i in range(p) for j in range(i) if rng.random() < 3 / p] + [(0, p - 1)]
        D = np.zeros((len(edges), p))
        for row, (i, j) in zip(D, edges):
            row[i], row[j] = -1, 1
        return edges, D
    D = rng.normal(size=(p + 3, p)) * (rng.random((p + 3, p)) < 0.5)
    D[:, 0] += 1.0
    if kind == "dependent":
        D[-1] = D[0] - 2 * D[1]
        D[-2] = D[2]
    return {"dense": D, "dependent": D, "sparse": sparse.csc_array(D), "linear": aslinearoperator(D)}[kind], D


def literal(path, X, y, D, nu, **options):
    """The recursion with the step and kappa of a path, at its numbers of steps."""
    b, g, first = recursion(X, y, D, nu, path.kappa, path.step, path.n_steps.tolist(), **options)
    time = np.where(first >= 0, first * path.step, np.inf)
    return np.moveaxis(b, 0, -1), np.moveaxis(g, 0, -1), time


def assert_same(path, expected, tol=1e-8):
    b, g, time = expected
    several = path.coefs.ndim == 3
    b, g = (np.moveaxis(a, 1, 0) if several else a[:, 0] for a in (b, g))
    size = max(np.abs(b).max(), 1e-300)
    np.testing.assert_array_equal(path.gammas != 0, g != 0)
    assert np.abs(path.coefs - b).max() <= tol * size
    assert np.abs(path.gammas - g).max() <= tol * size
    np.testing.assert_allclose(path.first_entry, time, rtol=1e-12)


# --- equality with the literal recursion

CASES = [
    (loss, kind, grouped, seed)
    for loss in LOSSES
    for kind in ["plain", "none", "fused", "fused+identity", "edges", "dense", "dependent", "sparse", "linear"]
    for grouped in (False, True)
    for seed in (0, 1)
]


@pytest.mark.parametrize("loss, kind, grouped, seed", CASES)
def test_path_is_the_literal_recursion(loss, kind, grouped, seed):
    # 108 problems; those drawn differ in weights, intercept, sparsity, size and start
    rng = np.random.default_rng([CASES.index((loss, kind, grouped, seed))])
    n, p = (20, 8) if seed else (12, 18)
    weights = rng.uniform(0.2, 2, n) if rng.random() < 0.5 else None
    is_sparse, fit_intercept = rng.random() < 0.3, rng.random() < 0.7
    X, y = random_problem(rng, loss, n, p, 0.5 if is_sparse else 1.0)
    if weights is not None:
        weights[np.flatnonzero(y == np.max(y))[1:3]] = 0.0
    nu = None if kind == "plain" else rng.uniform(0.2, 2)
    given, D = operator("none" if kind == "plain" else kind, rng, p)
    m = p if D is None else len(D)
    groups = rng.integers(0, m // 2, m) if grouped else None
    path = split_lbi_path(
        sparse.csr_array(X) if is_sparse else X, y, D=given, nu=nu, kappa=rng.uniform(2, 6), t_ratio=12, n_times=15,
        loss=loss, groups=groups, fit_intercept=fit_intercept, sample_weight=weights,
    )  # fmt: skip
    assert np.isfinite(path.first_entry).sum() > 0
    options = dict(loss=loss, groups=groups, weights=weights, fit_intercept=fit_intercept)
    assert_same(path, literal(path, X, y, D, nu, **options))
    if fit_intercept:
        v = np.ones(n) / n if weights is None else weights / weights.sum()
        for t in (0, 7, 14):
            eta = X @ np.atleast_2d(path.coefs[..., t]).T
            expected = best_intercept(eta, targets(y, loss), v, loss)
            np.testing.assert_allclose(np.atleast_1d(path.intercepts[..., t]), expected, rtol=1e-7, atol=1e-9)
    else:
        assert not path.intercepts.any()


@pytest.mark.parametrize("size", [1, 7, 8, 33, 4000])
def test_logistic_function_of_the_kernels(size, rng):
    """To a few units in the last place, also where it vanishes; infinities and NaN are what they should be."""
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-300, 700.0, -700.0, 708.5, -708.5, 745.2, -745.2, 1e5, -1e300]
    eta = np.resize(np.concatenate([special, 30 * rng.normal(size=2000), 1e-3 * rng.normal(size=2000)]), size)
    v = np.ones(size)
    # minus the derivative for y = 0
    found = -residual(1, np.asfortranarray(eta[:, None]), np.zeros((size, 1), order="F"), v, False, np.zeros(1))[:, 0]
    # below exp(-708) it stays at that
    np.testing.assert_allclose(found, expit(np.clip(eta, -708.0, None)), rtol=1e-15)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(eta))


@pytest.mark.parametrize("n, p, nu, kind", [
    (60, 200, None, "none"), (200, 150, None, "none"), (60, 200, 1.0, "none"), (200, 150, 1.0, "fused"),
    (60, 100, 0.3, "fused+identity"),
])  # fmt: skip
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("few", [32, 1000])
def test_working_set_misses_nothing(n, p, nu, kind, grouped, few, rng, monkeypatch):
    """Large enough for most rows to stay outside the working set, or that of the kernel, for most of the time."""
    X, y = random_problem(rng, "squared", n, p, signal=10)
    given, D = operator(kind, rng, p)
    m = p if D is None else len(D)
    groups = rng.permutation(m) // 2 if grouped else None
    sizes = []
    monkeypatch.setattr(bregman, "_eigenbasis_pays", lambda *arguments: True)
    monkeypatch.setattr(bregman, "FEW", few)
    for engine in (bregman._GramSteps, bregman._ModalSteps):
        # as if to look at the rows outside cost nothing
        monkeypatch.setattr(engine, "look", property(lambda self: 0.0, lambda self, value: None), raising=False)
        advance = engine.advance

        def spy(self, shape, *rest, advance=advance):
            sizes.append(len(shape[4]))
            return advance(self, shape, *rest)

        monkeypatch.setattr(engine, "advance", spy)
    path = split_lbi_path(X, y, D=given, nu=nu, kappa=8, t_ratio=8, n_times=20, groups=groups)
    if few == 1000 and n > p and not grouped:
        assert sizes == [m]
    elif few == 32:
        assert len(sizes) > 10 and np.median(sizes) < 0.8 * m
    assert_same(path, literal(path, X, y, D, nu, groups=groups))


@pytest.mark.parametrize("loss", LOSSES[1:])
def test_working_set_of_the_logistic_losses_misses_nothing(loss, rng):
    X, y = random_problem(rng, loss, 60, 120)
    path = split_lbi_path(X, y, nu=None, kappa=5, t_ratio=20, n_times=20, loss=loss)
    assert_same(path, literal(path, X, y, None, None, loss=loss))


@pytest.mark.parametrize("p", [3, 60, 1001])
@pytest.mark.parametrize(
    "options", [dict(), dict(fit_intercept=True), dict(start="first_entry"), dict(n_times=150), dict(n_times=2)]
)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("neighbours", [False, True])
def test_chains(p, options, weighted, neighbours, rng, monkeypatch):
    """Differences of neighbours and a tridiagonal Hessian have a kernel of their own, for chains of all lengths."""
    calls = []
    kernel = bregman.Chain
    monkeypatch.setattr(bregman, "Chain", lambda *arguments: calls.append(1) or kernel(*arguments))
    monkeypatch.setattr(bregman, "_eigenbasis_pays", lambda *arguments: False)
    y = np.sqrt(p) * (np.resize(np.repeat(3 * rng.normal(size=5), p // 5 + 1), p) + rng.normal(size=p))
    X = sparse.diags_array(np.sqrt(p) * rng.uniform(1, 2, p), format="csr")
    if neighbours:
        below = 0.3 * np.sqrt(p) * rng.normal(size=p - 1)
        X = sparse.csr_array(X + sparse.diags_array(below, offsets=-1, shape=(p, p)))
    s = rng.uniform(0.3, 2, p) if weighted else None
    options = dict(D="fused", fit_intercept=False, sample_weight=s, kappa=4, t_ratio=10, n_times=10) | options
    path = split_lbi_path(X, y, **options)
    assert calls
    if p < 100 and "start" not in options:
        fitted = options["fit_intercept"]
        assert_same(path, literal(path, X, y, np.diff(np.eye(p), axis=0), 1.0, weights=s, fit_intercept=fitted))
    # the same with the signs of D turned is left to the general kernel
    turned = sparse.diags_array([np.ones(p - 1), -np.ones(p - 1)], offsets=[0, 1], shape=(p - 1, p))
    other = split_lbi_path(X, y, **(options | {"D": turned, "step": path.step}))
    assert len(calls) == 1
    np.testing.assert_allclose(path.gammas, -other.gammas, atol=1e-8)
    np.testing.assert_allclose(path.coefs, other.coefs, atol=1e-8)
    np.testing.assert_allclose(path.coefs_sparse, other.coefs_sparse, atol=1e-8)
    np.testing.assert_allclose(path.first_entry, other.first_entry, rtol=1e-9)


@pytest.mark.parametrize("n_threads, p, shared", [(2, 100, 8), (3, 1001, 21), (4, 1003, 64)])
@pytest.mark.parametrize("neighbours", [False, True])
@pytest.mark.parametrize("n_times", [7, 150])
def test_parts_of_a_chain(n_threads, p, shared, neighbours, n_times, rng, monkeypatch):
    """Threads that step a part each change nothing, to the last bit."""
    y = np.sqrt(p) * (np.resize(np.repeat(3 * rng.normal(size=20), p // 20 + 1), p) + rng.normal(size=p))
    X = sparse.diags_array(np.sqrt(p) * rng.uniform(1, 2, p), format="csr")
    if neighbours:
        below = 0.3 * np.sqrt(p) * rng.normal(size=p - 1)
        X = sparse.csr_array(X + sparse.diags_array(below, offsets=-1, shape=(p, p)))
    options = dict(D="fused", fit_intercept=False, kappa=4, t_ratio=10, n_times=n_times)
    monkeypatch.setattr(bregman, "_eigenbasis_pays", lambda *arguments: False)
    monkeypatch.setattr(bregman, "blas_threads", lambda: 1)
    whole = split_lbi_path(X, y, **options)
    parts, kernel = [], bregman.Chain
    monkeypatch.setattr(bregman, "Chain", lambda *arguments: parts.append(len(arguments[-1])) or kernel(*arguments))
    monkeypatch.setattr(bregman, "blas_threads", lambda: n_threads)
    monkeypatch.setattr(bregman, "PART", p // n_threads)
    monkeypatch.setattr(bregman, "SHARED", shared)
    path = split_lbi_path(X, y, **options)
    assert len(parts) == n_threads and max(parts) < p - 1
    assert whole.n_steps[-1] > 4 * shared and np.isfinite(whole.first_entry).any()
    for name in ("coefs", "gammas", "coefs_sparse", "first_entry"):
        np.testing.assert_array_equal(path[name], whole[name])


@pytest.mark.parametrize("kind", ["plain", "none", "fused"])
@pytest.mark.parametrize("loss", LOSSES)
def test_start_at_the_first_entry(loss, kind, rng):
    X, y = random_problem(rng, loss, 40, 7)
    given, D = operator("none" if kind == "plain" else kind, rng, 7)
    nu = None if kind == "plain" else 0.7
    path = split_lbi_path(X, y, D=given, nu=nu, kappa=4, t_ratio=10, n_times=10, loss=loss, start="first_entry")
    K = 3 if loss == "multinomial" else 1
    D = np.eye(7) if D is None else D
    Y, v = targets(y, loss), np.ones(40) / 40
    t0 = path.times[0]
    if nu is None:
        b = np.zeros((7, K))
        b0 = best_intercept(np.zeros((40, K)), Y, v, loss)
        z = t0 * X.T @ (v[:, None] * (Y - (b0 if loss == "squared" else np.mean(Y, axis=0))))
    else:
        b = initial(X, y, D, nu, loss)
        z = t0 * D @ b / nu
    assert np.abs(z).max() == pytest.approx(1.0, abs=1e-7)
    bs, gs, _ = recursion(X, y, D, nu, path.kappa, path.step, path.n_steps.tolist(), loss=loss, start=(b, z))
    got = path.coefs if K == 3 else path.coefs[None]
    np.testing.assert_allclose(got, np.moveaxis(bs, 0, -1).swapaxes(0, 1), atol=1e-5 * np.abs(bs).max())
    assert path.n_steps[0] == 0


def initial(X, y, D, nu, loss):
    """argmin of L(b) + ||D b||^2 / (2 nu) by a general-purpose optimiser."""
    from scipy.optimize import minimize

    Y, n = targets(y, loss), len(X)
    p, K = X.shape[1], Y.shape[1]

    def value(x):
        b, b0 = x[:-K].reshape(p, K), x[-K:]
        eta = X @ b + b0
        if loss == "squared":
            fit = np.sum((Y - eta) ** 2) / (2 * n)
        elif loss == "logistic":
            fit = np.sum(np.logaddexp(0, eta) - Y * eta) / n
        else:
            fit = np.sum(np.logaddexp.reduce(eta, axis=1) - np.sum(Y * eta, axis=1)) / n
        return fit + np.sum((D @ b) ** 2) / (2 * nu)

    def slope(x):
        b, b0 = x[:-K].reshape(p, K), x[-K:]
        R = (mean_of(X @ b + b0, loss) - Y) / n
        return np.concatenate([(X.T @ R + D.T @ D @ b / nu).ravel(), R.sum(axis=0)])

    x = np.zeros(p * K + K)
    for _ in range(5):
        x = minimize(value, x, jac=slope, method="BFGS", options=dict(gtol=1e-12, maxiter=5000)).x
    return x[:-K].reshape(p, K)


@pytest.mark.parametrize("kind", ["none", "fused", "dense"])
@pytest.mark.parametrize("loss", LOSSES)
def test_first_time(loss, kind, rng):
    X, y = random_problem(rng, loss, 50, 6)
    given, D = operator(kind, rng, 6)
    D = np.eye(6) if D is None else D
    path = split_lbi_path(X, y, D=given, nu=0.8, loss=loss, kappa=3, t_ratio=5, n_times=5)
    size = np.abs(D @ initial(X, y, D, 0.8, loss)).max()
    assert path.kappa == pytest.approx(3 * size, rel=1e-5)
    np.testing.assert_allclose(path.times, path.step * path.n_steps)
    grid = 0.8 / size * np.geomspace(1, 5, 5)
    assert np.all(path.times >= grid * (1 - 1e-5)) and np.all(path.times < grid * (1 + 1e-5) + path.step)


def test_first_time_of_groups_and_of_the_plain_iteration(rng):
    X, y = random_problem(rng, "squared", 50, 6)
    Xc, yc = X - X.mean(axis=0), y - y.mean()
    q = Xc.T @ yc / 50
    path = split_lbi_path(X, y, nu=None, kappa=1000, n_times=500)
    assert path.times[0] == pytest.approx(1 / np.abs(q).max(), rel=1e-3)
    path = split_lbi_path(X, y, nu=None, kappa=1000, n_times=500, groups=3)
    assert path.times[0] == pytest.approx(1 / max(np.linalg.norm(q[:3]), np.linalg.norm(q[3:])), rel=1e-3)


# --- step and units


def test_default_step_is_the_published_one(rng):
    X, y = random_problem(rng, "squared", 30, 8)
    for D in (None, "fused", rng.normal(size=(5, 8))):
        norm = (
            1.0
            if D is None
            else steepest_norm(X, np.diff(np.eye(8), axis=0) if isinstance(D, str) else D, 1, None, True)[1]
        )
        path = split_lbi_path(X, y, D=D, nu=2.0, kappa=30.0, kappa_units="raw")
        top = steepest_norm(X, None, None, None, True)[0]
        assert path.kappa == pytest.approx(30.0)
        assert path.step == pytest.approx(2.0 / (30.0 * (1 + 2.0 * top + norm)), rel=1e-9)
    path = split_lbi_path(X, y, nu=None, kappa=300.0, kappa_units="raw")
    assert path.step == pytest.approx(1 / (300.0 * top), rel=1e-9)


@pytest.mark.parametrize("scale", [1e-9, 1e9, -1.0, 1e-200])
@pytest.mark.parametrize("options", [dict(nu=None), dict(), dict(D="fused"), dict(groups=2), dict(start="first_entry")])
def test_units_of_y_only_rescale_the_path(options, scale, rng):
    X, y = random_problem(rng, "squared", 30, 8)
    options = dict(kappa=10, t_ratio=20, n_times=20) | options
    a, b = split_lbi_path(X, y, **options), split_lbi_path(X, scale * y, **options)
    np.testing.assert_allclose(b.times * abs(scale), a.times, rtol=1e-9)
    np.testing.assert_allclose(b.coefs / scale, a.coefs, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(b.coefs_sparse / scale, a.coefs_sparse, rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(a.gammas != 0, b.gammas != 0)


@pytest.mark.parametrize("options", [dict(nu=None), dict(), dict(D="fused")])
@pytest.mark.parametrize("loss", LOSSES)
def test_means_of_the_features_do_not_matter(options, loss, rng):
    X, y = random_problem(rng, loss, 40, 6)
    options = dict(kappa=5, t_ratio=10, n_times=10, loss=loss) | options
    a, b = split_lbi_path(X, y, **options), split_lbi_path(X + 1e4, y, **options)
    np.testing.assert_allclose(b.coefs, a.coefs, rtol=1e-6, atol=1e-8)
    moved = b.intercepts + 1e4 * b.coefs.sum(axis=-2)
    if loss == "multinomial":
        moved -= moved.mean(axis=0)
    np.testing.assert_allclose(moved, a.intercepts, atol=1e-5)


@pytest.mark.parametrize("options", [dict(nu=None), dict(), dict(D="fused"), dict(groups=[0, 0, 1, 1, 2, 2])])
@pytest.mark.parametrize("loss", LOSSES)
def test_weights_are_repetitions(options, loss, rng):
    X, y = random_problem(rng, loss, 30, 6)
    s = rng.integers(0, 4, 30)
    s[:6] = 1
    options = dict(kappa=5, t_ratio=10, n_times=10, loss=loss) | options
    a = split_lbi_path(X, y, sample_weight=s, **options)
    rows = np.repeat(np.arange(30), s)
    for Z in (X[rows], sparse.csr_array(X[rows])):
        b = split_lbi_path(Z, y[rows], **options)
        for name in ("times", "coefs", "coefs_sparse", "gammas", "intercepts", "intercepts_sparse", "first_entry"):
            np.testing.assert_allclose(a[name], b[name], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("options", [dict(nu=None), dict(), dict(D="fused"), dict(D="fused", start="first_entry")])
@pytest.mark.parametrize("loss", LOSSES)
def test_constant_columns_of_sparse_features(options, loss, rng):
    """Dense columns of one value, which cancel with the intercept but for rounding."""
    X, y = random_problem(rng, loss, 30, 6, 0.5)
    X[:, 2], X[:, 4] = 0.1, -3e5
    s = rng.uniform(0.1, 1, 30)
    options = dict(kappa=5, t_ratio=10, n_times=10, loss=loss, sample_weight=s) | options
    a, b = split_lbi_path(X, y, **options), split_lbi_path(sparse.csr_array(X), y, **options)
    for name in ("times", "coefs", "coefs_sparse", "gammas", "first_entry"):
        np.testing.assert_allclose(b[name], a[name], rtol=1e-7, atol=1e-9)
    scale = 1 + np.abs(a.coefs[..., 4, :]).max() * 3e5
    np.testing.assert_allclose(b.intercepts, a.intercepts, atol=1e-9 * scale)
    if loss == "squared":
        c, d = (inverse_scale_space_path(Z, y, nu=1.0, D="fused", sample_weight=s) for Z in (X, sparse.csr_array(X)))
        # both rows of D at a constant column enter at once, and the loss does not tell how they share the jump: the
        # other columns are determined, and all of them minimise the same objective given gamma
        moving = [0, 1, 3, 5]
        np.testing.assert_allclose(d.times, c.times, rtol=1e-9)
        np.testing.assert_allclose(d.coefs[moving], c.coefs[moving], rtol=1e-7, atol=1e-9)
        D, v = np.diff(np.eye(6), axis=0), s / s.sum()
        centred, target = X - v @ X, y - v @ y
        objectives = []
        for found in (c, d):
            residual, gap = target[:, None] - centred @ found.coefs, D @ found.coefs - found.gammas
            stationary = D.T @ gap - centred.T @ (v[:, None] * residual)
            np.testing.assert_allclose(stationary, 0.0, atol=1e-10)
            objectives.append(0.5 * (v @ residual**2 + np.sum(gap**2, axis=0)))
        np.testing.assert_allclose(objectives[1], objectives[0], rtol=1e-10)
    # nothing but constants
    path = split_lbi_path(sparse.csr_array(np.tile([0.1, -3e5, 7.0], (30, 1))), y, **options)
    assert not path.coefs.any()


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("nu", [None, 1.0])
def test_columns_that_are_constant_in_a_fold(form, nu, rng):
    X, y = random_problem(rng, "squared", 60, 6, 0.5)
    X[:40, 2], X[:, 3] = 0.1, 1e3 / 3
    folds = [(np.arange(40), np.arange(40, 60)), (np.arange(20, 60), np.arange(20)), (np.r_[:20, 40:60], np.r_[20:40])]
    options = dict(kappa=5, t_ratio=10, n_times=10)
    model = SplitLBICV(nu, cv=folds, **options).fit(form(X), y)
    # one fold more leaves the moments for the rows
    rows = SplitLBICV(nu, cv=[*folds, folds[0]], **options).fit(X, y)
    np.testing.assert_allclose(model.mse_path_, rows.mse_path_[:, :3], rtol=1e-8)


@pytest.mark.parametrize("loss", LOSSES)
def test_zero_one_and_constant(loss, rng):
    X, y = random_problem(rng, loss, 30, 6)
    X[:, 2] = 3.0
    path = split_lbi_path(X, y, loss=loss, kappa=5, t_ratio=10)
    assert np.abs(path.coefs[..., 2, :]).max() < 1e-14 and np.isinf(path.first_entry[2])
    X[:, 2] = X[:, 0]
    path = split_lbi_path(X, y, loss=loss, kappa=5, t_ratio=10)
    np.testing.assert_allclose(path.coefs[..., 2, :], path.coefs[..., 0, :], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("options", [dict(nu=None), dict(), dict(D="fused"), dict(D="fused", start="first_entry")])
@pytest.mark.parametrize("y", [np.zeros(20), np.full(20, 1e-3), np.full(20, 0.1) * 3])
def test_nothing_to_select(options, y, rng):
    X = rng.normal(size=(20, 4))
    path = split_lbi_path(X, y, **options)
    assert not path.gammas.any() and not path.coefs.any()
    np.testing.assert_allclose(path.intercepts, y[0], rtol=1e-12)
    assert np.all(np.isinf(path.first_entry)) and np.all(np.diff(path.times) > 0)


def test_response_in_the_kernel_of_the_operator(rng):
    # all of y is explained by a constant coefficient vector, of which D sees nothing
    X = rng.normal(size=(20, 4))
    path = split_lbi_path(X, X.sum(axis=1), D="fused", fit_intercept=False)
    assert not path.gammas.any()
    np.testing.assert_allclose(path.coefs, 1.0, rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", LOSSES)
def test_types_and_orders(loss, dtype, rng):
    X, y = random_problem(rng, loss, 30, 6)
    X = X.astype(dtype)
    expected = split_lbi_path(X.astype(np.float64), y, loss=loss, kappa=5, t_ratio=10)
    for Z in (
        np.ascontiguousarray(X),
        np.asfortranarray(X),
        np.repeat(X, 2, axis=1)[:, ::2],
        sparse.csr_array(X),
        sparse.csc_matrix(X),
    ):
        if not sparse.issparse(Z):
            Z.setflags(write=False)
        before = dense(Z).copy()
        path = split_lbi_path(Z, y, loss=loss, kappa=5, t_ratio=10)
        np.testing.assert_array_equal(dense(Z), before)
        assert path.coefs.dtype == path.gammas.dtype == path.coefs_sparse.dtype == path.intercepts.dtype == dtype
        np.testing.assert_allclose(path.coefs, expected.coefs, atol=1e-4 if dtype == np.float32 else 1e-8)


def test_separable_classes(rng):
    X = rng.normal(size=(40, 5))
    y = X[:, 0] > 0
    for options in (dict(nu=None), dict(), dict(D="fused"), dict(D="fused", fit_intercept=False)):
        path = split_lbi_path(X, y, loss="logistic", **options)
        assert np.isfinite(path.coefs).all()
        assert np.mean((X @ path.coefs[:, -1] + path.intercepts[-1] > 0) == y) > 0.9
    # separable by a vector that D does not see
    y = X.sum(axis=1) > 0
    path = split_lbi_path(X, y, loss="logistic", D="fused", fit_intercept=False)
    assert np.isfinite(path.coefs).all() and np.isfinite(path.times).all()


@pytest.mark.parametrize("loss", LOSSES[1:])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_classes_separated_where_the_operator_does_not_look(loss, fit_intercept, rng):
    """There is no b that is best for gamma = 0, yet the path goes on: it is the literal recursion."""
    X = rng.normal(size=(60, 6))
    score = X @ [3.0, 3.0, 0.0, -2.0, 0.0, 0.0] + 0.3 * rng.normal(size=60)
    y = score > 0 if loss == "logistic" else np.digitize(score, [-2.0, 2.0])
    D = np.zeros((2, 6))
    D[0, :2], D[1, 5] = [-1, 1], 1
    options = dict(loss=loss, fit_intercept=fit_intercept)
    path = split_lbi_path(X, y, D=D, kappa=5, t_ratio=30, n_times=10, **options)
    assert path.gammas.any() and np.all(np.diff(path.n_steps) > 0)
    assert_same(path, literal(path, X, y, D, 1.0, **options))


@pytest.mark.parametrize("nu", [None, 1.0])
def test_one_row(nu):
    path = split_lbi_path([[1.0, 2.0]], [3.0], nu=nu)
    assert not path.coefs.any() and path.intercepts[0] == 3.0
    path = split_lbi_path([[1.0, 2.0]], [3.0], nu=nu, fit_intercept=False)
    assert path.first_entry[1] < path.first_entry[0]
    assert path.coefs[:, -1] @ [1.0, 2.0] == pytest.approx(3.0, rel=1e-2)


# --- the inverse scale space limit


@pytest.mark.parametrize("n, p", [(60, 12), (20, 40)])
@pytest.mark.parametrize(
    "nu, kind", [(None, "none"), (0.8, "none"), (0.8, "fused"), (0.5, "dependent"), (1.5, "edges")]
)
def test_conditions_of_the_inverse_scale_space_flow(n, p, nu, kind, rng):
    X, y = random_problem(rng, "squared", n, p)
    weights = rng.uniform(0.3, 2, n)
    v = weights / weights.sum()
    given, D = operator(kind, rng, p)
    D = np.eye(p) if D is None else D
    path = inverse_scale_space_path(X, y, D=given, nu=nu, sample_weight=weights)
    assert path.complete and np.all(np.diff(path.times) > 0)
    Xc, yc = X - v @ X, y - v @ y
    gradients = Xc.T @ (v[:, None] * (yc[:, None] - Xc @ path.coefs))
    scale = np.abs(Xc.T @ (v * yc)).max()
    if nu is None:
        rates = gradients
        np.testing.assert_array_equal(path.coefs, path.gammas)
    else:
        rates = (D @ path.coefs - path.gammas) / nu
        # b is the best for gamma
        np.testing.assert_allclose(gradients, D.T @ rates, atol=1e-9 * scale)
        scale = np.abs(D @ path.coefs).max() / nu
    # z is a subgradient
    z = path.subgradients
    assert np.abs(z).max() <= 1 + 1e-9
    on = path.gammas != 0
    np.testing.assert_allclose(z[on], np.sign(path.gammas)[on], atol=1e-9)
    # gamma minimises under the sign constraints: at rest where it is nonzero, not outward where |z| = 1
    assert np.abs(rates[on]).max() <= 1e-9 * scale
    at_bound = np.abs(z) > 1 - 1e-12
    assert np.max((z * rates)[at_bound]) <= 1e-9 * scale
    # z moves at the rate of each interval
    steps = np.diff(path.times)
    np.testing.assert_allclose(np.diff(z, axis=1), rates[:, :-1] * steps, atol=1e-9)
    np.testing.assert_allclose(z[:, 0], path.times[0] * before_entry(Xc, yc, v, D, nu), atol=1e-9)
    # and each entry is recorded
    first = np.where(on.any(axis=1), path.times[on.argmax(axis=1)], np.inf)
    np.testing.assert_array_equal(path.first_entry, first)
    if n > p:
        A = np.sqrt(v)[:, None] * np.column_stack([np.ones(n), X])
        solution = np.linalg.lstsq(A, np.sqrt(v) * y, rcond=None)[0]
        np.testing.assert_allclose(path.coefs[:, -1], solution[1:], rtol=1e-8, atol=1e-10)
        assert path.intercepts[-1] == pytest.approx(solution[0])
    else:
        np.testing.assert_allclose(Xc @ path.coefs[:, -1], yc, atol=1e-7)


def before_entry(Xc, yc, v, D, nu):
    q = Xc.T @ (v * yc)
    if nu is None:
        return q
    return D @ np.linalg.lstsq(Xc.T @ (v[:, None] * Xc) + D.T @ D / nu, q, rcond=1e-12)[0] / nu


@pytest.mark.parametrize("nu, kind", [(None, "none"), (1.0, "none"), (1.0, "fused")])
def test_paths_tend_to_inverse_scale_space(nu, kind, rng):
    """The L1 distance over time falls at least fivefold with each decade of kappa."""
    X, y = random_problem(rng, "squared", 60, 8)
    given, D = operator(kind, rng, 8)
    limit = inverse_scale_space_path(X, y, D=given, nu=nu)
    distances = []
    for kappa in (10, 100, 1000):
        path = split_lbi_path(X, y, D=given, nu=nu, kappa=kappa, t_ratio=30, n_times=3000, kappa_units="initial")
        at = np.searchsorted(limit.times, path.times, side="right") - 1
        exact = np.where(at >= 0, limit.gammas[:, at], 0.0)
        gap = np.abs(path.gammas - exact).sum(axis=0)
        distances.append(np.sum(0.5 * (gap[1:] + gap[:-1]) * np.diff(path.times)))
    assert distances[0] > 5 * distances[1] > 25 * distances[2], distances


def test_inverse_scale_space_by_brute_force(rng):
    """The sign-constrained problem of every event, by enumerating the supports."""
    from itertools import combinations

    X, y = random_problem(rng, "squared", 15, 5)
    path = inverse_scale_space_path(X, y)
    Xc, yc = X - X.mean(axis=0), y - y.mean()
    for z, b in zip(path.subgradients.T, path.coefs.T):
        free = np.flatnonzero(np.abs(z) > 1 - 1e-12)
        best = yc @ yc
        for size in range(1, len(free) + 1):
            for part in combinations(free, size):
                x = np.linalg.lstsq(Xc[:, part], yc, rcond=None)[0]
                if np.all(x * z[list(part)] >= 0):
                    best = min(best, np.sum((yc - Xc[:, part] @ x) ** 2))
        assert np.sum((yc - Xc @ b) ** 2) == pytest.approx(best, rel=1e-10)


def test_inverse_scale_space_degenerate(rng):
    X, y = random_problem(rng, "squared", 30, 6)
    X[:, 3] = X[:, 1]  # enters at the same time
    X[:, 5] = 2.0
    path = inverse_scale_space_path(X, y)
    assert path.complete and np.isinf(path.first_entry[5])
    A = np.column_stack([np.ones(30), X[:, [0, 1, 2, 4]]])
    solution = np.linalg.lstsq(A, y, rcond=None)[0]
    b = path.coefs[:, -1]
    np.testing.assert_allclose([b[0], b[1] + b[3], b[2], b[4]], solution[1:], rtol=1e-8)
    for c in (1e-9, 1e9, 1e-200):
        scaled = inverse_scale_space_path(X, c * y)
        np.testing.assert_allclose(scaled.coefs / c, path.coefs, rtol=1e-7, atol=1e-12)
        np.testing.assert_allclose(scaled.times * c, path.times, rtol=1e-9)
    for y in (np.zeros(30), np.full(30, 0.3)):
        path = inverse_scale_space_path(X, y)
        assert path.complete and not path.coefs.any()


def test_inverse_scale_space_stops(rng):
    X, y = random_problem(rng, "squared", 20, 30)
    whole = inverse_scale_space_path(X, y)
    part = inverse_scale_space_path(X, y, t_ratio=5.0)
    assert not part.complete and 1 < len(part.times) < len(whole.times)
    assert part.times[-1] <= 5 * part.times[0] < whole.times[len(part.times)]
    np.testing.assert_array_equal(part.coefs, whole.coefs[:, : len(part.times)])
    for Z in (sparse.csr_array(X), X.astype(np.float32)):
        other = inverse_scale_space_path(Z, y, t_ratio=5.0)
        np.testing.assert_allclose(other.coefs, part.coefs, atol=1e-4)


# --- projection


@pytest.mark.parametrize("kind", ["none", "fused", "fused+identity", "edges", "dense", "dependent"])
def test_projection_is_the_pseudoinverse(kind, rng):
    p = 12
    D = operator(kind, rng, p)[1]
    D = np.eye(p) if D is None else D
    split = SplitOperator(D)
    b = rng.normal(size=(p, 3))
    for share in (0.0, 0.1, 0.3, 0.6, 1.0):
        support = rng.random(len(D)) < share
        np.testing.assert_allclose(split.projected(b, support), projection(D, support, b), atol=1e-9)


def test_projection_of_paths(rng):
    X, y = random_problem(rng, "squared", 40, 12)
    for kind in ("fused", "edges", "dense"):
        given, D = operator(kind, rng, 12)
        path = split_lbi_path(X, y, D=given, kappa=10, n_times=30)
        for t in range(30):
            expected = projection(D, path.gammas[:, t] != 0, path.coefs[:, t])
            np.testing.assert_allclose(path.coefs_sparse[:, t], expected, atol=1e-9)


def test_iterative_projection(rng, monkeypatch):
    from skspar._engine import split_operator

    D = operator("dependent", rng, 12)[1]
    b, support = rng.normal(size=(12, 2)), rng.random(len(D)) < 0.4
    monkeypatch.setattr(split_operator, "DENSE_LIMIT", 0)
    np.testing.assert_allclose(SplitOperator(D).projected(b, support), projection(D, support, b), atol=1e-9)


def test_projection_on_a_large_graph(rng):
    # nothing here may be dense: the matrix has 2e10 entries
    edges = np.unique(np.sort(rng.integers(0, 100_000, (200_000, 2)), axis=1), axis=0)
    edges = edges[edges[:, 0] < edges[:, 1]]
    m = len(edges)
    D = sparse.csr_array((np.tile([-1.0, 1.0], m), edges.ravel(), np.arange(0, 2 * m + 1, 2)), shape=(m, 100_000))
    support = rng.random(m) < 0.7
    b = rng.normal(size=(100_000, 1))
    x = SplitOperator(D).projected(b, support)
    assert np.abs(D[~support] @ x).max() == 0.0
    # the rest is orthogonal to all that D does not see there, the indicators of components
    assert np.sum((b - x) * x) == pytest.approx(0.0, abs=1e-8)


# --- estimators


def test_unbiased_on_a_strong_signal(rng):
    X = rng.normal(size=(200, 40))
    b = np.zeros(40)
    b[:5] = 5.0
    y = X @ b + rng.normal(size=200)
    model = SplitLBICV(None).fit(X, y)
    oracle = np.linalg.lstsq(np.column_stack([np.ones(200), X[:, :5]]), y, rcond=None)[0][1:]
    assert set(np.flatnonzero(model.coef_)) >= set(range(5))
    at = np.searchsorted(model.times_, np.sort(model.first_entry_)[:6].mean())
    stop = model.coef_path_[:, at]
    assert np.abs(stop[:5] - oracle).max() < 0.05


def test_fused_signal_is_found(rng):
    truth = np.repeat([0.0, 3.0, -1.0, 0.0], 25)
    y = truth + 0.1 * rng.normal(size=100)
    path = split_lbi_path(sparse.eye_array(100, format="csr") * 10.0, 10.0 * y, D="fused", fit_intercept=False, nu=1.0)
    assert set(np.argsort(path.first_entry)[:3]) == {24, 49, 74}
    t = np.searchsorted(path.times, np.sort(path.first_entry)[3]) - 1
    np.testing.assert_allclose(path.coefs_sparse[:, t], truth, atol=0.1)
    assert len(np.unique(path.coefs_sparse[:, t].round(9))) == 4


def test_shrink_of_the_tests():
    z = np.array([[2.0, -3.0], [0.5, 0.2]])
    np.testing.assert_allclose(shrink(z, None), [[1, -2], [0, 0]])
    np.testing.assert_allclose(shrink(z, np.array([0, 1])), [[2 - 2 / np.sqrt(13), -3 + 3 / np.sqrt(13)], [0, 0]])


def test_estimates_of_the_estimator(rng):
    X, y = random_problem(rng, "squared", 40, 8)
    path = split_lbi_path(X, y, D="fused")
    for estimate, coefs, intercepts in [
        ("dense", path.coefs, path.intercepts),
        ("sparse", path.coefs_sparse, path.intercepts_sparse),
    ]:
        model = SplitLBI(D="fused", estimate=estimate).fit(X, y)
        np.testing.assert_array_equal(model.coef_path_, coefs)
        np.testing.assert_array_equal(model.coef_, coefs[:, -1])
        np.testing.assert_array_equal(model.intercept_path_, intercepts)
        np.testing.assert_allclose(model.predict(X, path.times[40]), X @ coefs[:, 40] + intercepts[40])
        middle = 0.5 * (path.times[40] + path.times[41])
        expected = X @ coefs[:, 40:42].mean(axis=1) + intercepts[40:42].mean()
        np.testing.assert_allclose(model.predict(X, middle), expected)
        at = SplitLBI(D="fused", estimate=estimate, t=middle).fit(X, y)
        np.testing.assert_allclose(at.predict(X), expected)
        np.testing.assert_allclose(at.predict(X, "last"), model.predict(X))
        assert at.t_ == middle


@pytest.mark.parametrize("seed", range(60))
def test_inverse_scale_space_with_ties(seed):
    """Small integers: columns that repeat, enter together, or are combinations of others."""
    rng = np.random.default_rng(seed)
    n, p = rng.integers(2, 12), rng.integers(2, 14)
    X, y = rng.integers(-1, 2, (n, p)).astype(float), rng.integers(-2, 3, n).astype(float)
    if seed % 3 == 0:
        X[:, 1] = -X[:, 0]
    kind, nu = [("none", None), ("fused", 0.5), ("fused+identity", 2.0)][seed % 3]
    given, D = operator(kind, rng, p)
    path = inverse_scale_space_path(X, y, D=given, nu=nu)
    D = np.eye(p) if D is None else D
    Xc, yc = X - X.mean(axis=0), y - y.mean()
    gradients = Xc.T @ (yc[:, None] - Xc @ path.coefs) / n
    rates = gradients if nu is None else (D @ path.coefs - path.gammas) / nu
    z, on = path.subgradients, path.gammas != 0
    assert path.complete and np.abs(gradients[:, -1]).max() <= 1e-9
    np.testing.assert_allclose(z[on], np.sign(path.gammas[on]), atol=1e-12)
    assert np.abs(rates[on]).max(initial=0.0) <= 1e-9
    assert np.max((z * rates)[np.abs(z) > 1 - 1e-12], initial=0.0) <= 1e-9
    np.testing.assert_allclose(np.diff(z, axis=1), rates[:, :-1] * np.diff(path.times), atol=1e-9)
