"""The parts of the engine, each against a plain NumPy computation or against another part that must agree."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest
from _oracles import Problem, dual_norm
from scipy import sparse
from sklearn.linear_model import Lasso
from sklearn.model_selection import KFold
from threadpoolctl import threadpool_limits

import skspar._engine.design as design_module
import skspar._engine.folds as folds
import skspar._engine.path as path_module
from skspar import GroupLasso, group_lasso_path
from skspar._engine import newton, sparse_lasso
from skspar._engine._active_set import LassoActiveSet
from skspar._engine._blas import product, self_product, symmetric
from skspar._engine._block_cd import block_descent, block_descent_on_rows
from skspar._engine._columns import dense_correlate, dense_moments
from skspar._engine.design import make_design
from skspar._engine.folds import Regression
from skspar._engine.forms import GramForm, RowForm
from skspar._engine.newton import Curvature, RowGram, RowSystem, directions_from_gram, directions_from_rows
from skspar._engine.path import drive
from skspar._engine.penalty import BlockPenalty
from skspar._engine.threads import blas_threads, kernel_threads, one_blas_thread, threads
from skspar._engine.working_set import WorkingSet


def layout(sizes, **options):
    ptr = np.concatenate(([0], np.cumsum(sizes))).astype(np.intp)
    return BlockPenalty(np.arange(ptr[-1]), ptr, np.sqrt(sizes).astype(float), **options)


@pytest.mark.parametrize("by_moments", [True, False], ids=["moments", "rows"])
@pytest.mark.parametrize("container", [np.asarray, sparse.csc_array], ids=["dense", "csc"])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("sizes, l1_ratio", [([1] * 12, 0.0), ([3, 4, 5], 0.0), ([3, 4, 5], 0.4)], ids=str)
def test_coefficients_of_folds_are_those_of_copies(rng, monkeypatch, by_moments, container, weighted, sizes, l1_ratio):
    monkeypatch.setattr(folds, "_moments_pay", lambda *_: by_moments)
    X, Y = rng.normal(size=(50, 12)) + 3.0, rng.normal(size=(50, 2))
    Y[:, 0] += X[:, 0] - X[:, 4]
    weights = rng.uniform(0.2, 2.0, 50) if weighted else np.ones(50)
    regression = Regression(container(X), Y, weights, layout(sizes), True, 10)
    alphas = regression.alpha_max(l1_ratio) * np.array([0.7, 0.3, 0.05])
    splits = list(KFold(4).split(X))
    [solutions] = regression.folds([l1_ratio], [alphas], splits, 1e-14, 10_000)
    for fold, (train, _) in zip(solutions, splits):
        copy = Regression(container(X[train]), Y[train], weights[train], layout(sizes), True, 10)
        expected = copy.path(l1_ratio, alphas, 1e-14, 10_000)
        np.testing.assert_allclose(fold.path_coefs(), expected.path_coefs(), atol=1e-8)
        np.testing.assert_allclose(fold.intercepts, expected.intercepts, atol=1e-8)


@pytest.mark.parametrize("unpenalized", [[], [1, 4]], ids=["", "unpenalized"])
@pytest.mark.parametrize("fit_intercept", [True, False], ids=["intercept", ""])
def test_moments_and_rows_agree(rng, monkeypatch, unpenalized, fit_intercept):
    X, Y = rng.normal(size=(80, 9)) + rng.normal(size=9), rng.normal(size=(80, 1))
    kept = np.setdiff1d(np.arange(9), unpenalized)
    penalty = BlockPenalty(kept, np.arange(len(kept) + 1), np.ones(len(kept)), np.array(unpenalized, dtype=np.intp))
    found = []
    for by_moments in (True, False):
        monkeypatch.setattr(folds, "_moments_pay", lambda *_, answer=by_moments: answer)
        regression = Regression(X, Y, np.ones(80), penalty, fit_intercept, 10)
        found.append(regression.path(0.0, regression.alpha_max(0.0) * np.array([0.5, 0.01]), 1e-13, 1000))
    np.testing.assert_allclose(found[0].path_coefs(), found[1].path_coefs(), atol=1e-10)
    np.testing.assert_allclose(found[0].intercepts, found[1].intercepts, atol=1e-10)


def test_far_down_moments_pay(rng):
    """A single tall fit passes over X as long as alpha is large, and forms a Gram matrix where it is small."""
    X = np.asfortranarray(rng.normal(size=(1500, 900)))
    y = X[:, :5].sum(axis=1) + rng.normal(size=1500)
    penalty = layout([1] * 900)
    for share, by_moments in ((0.3, False), (0.005, True)):
        regression = Regression(X, y[:, None], np.ones(1500), penalty, True)
        alpha = share * regression.alpha_max(1.0)
        found = regression.path(1.0, np.array([alpha]), 1e-10, 10_000)
        assert regression._by_moments == by_moments
        expected = Lasso(alpha, tol=1e-10, max_iter=10_000).fit(X, y)
        np.testing.assert_allclose(found.coefs_at(0)[:, 0], expected.coef_, atol=1e-5)
        np.testing.assert_allclose(found.intercepts[0, 0], expected.intercept_, atol=1e-5)


def test_active_set_follows_a_path_in_both_directions(rng):
    # supports grow and shrink, so columns of the factor are appended and rotated away; the answer has no memory
    X, y = rng.normal(size=(40, 25)), rng.normal(size=40)
    G, q = np.asfortranarray(X.T @ X / 40), X.T @ y / 40
    solver = LassoActiveSet()
    solver.attach(G, q)
    for alpha in np.abs(q).max() * np.array([0.9, 0.5, 0.1, 0.01, 0.3, 0.8, 0.001, 0.6]):
        iterations, reached = solver.solve(np.full(25, alpha), 1e-12, 1000)
        assert reached and iterations < 200
        expected = Lasso(alpha, fit_intercept=False, tol=1e-15, max_iter=100_000).fit(X, y).coef_
        np.testing.assert_allclose(solver.coefficients, expected, atol=1e-9)
        np.testing.assert_allclose(solver.residual_gradient, q - G @ solver.coefficients, atol=1e-12)


@pytest.mark.parametrize("positive", [False, True])
def test_active_set_drops_many(rng, positive):
    # hundreds of columns are rotated away, several at a time where the penalty changes much
    X = rng.normal(size=(400, 250)) + rng.normal(size=(400, 1))
    y = X[:, :60] @ np.abs(rng.normal(size=60)) + 10 * rng.normal(size=400)
    G, q = np.asfortranarray(X.T @ X / 400), X.T @ y / 400
    solver = LassoActiveSet(positive)
    solver.attach(G, q)
    supports = []
    for share in (0.5, 0.1, 0.03, 0.01, 3e-3, 1e-3, 0.2, 1e-4, 0.05, 0.6):
        alpha = share * np.abs(q).max()
        _, reached = solver.solve(np.full(250, alpha), 1e-10, 2000)
        b = solver.coefficients
        gradient, support = q - G @ b, np.flatnonzero(b)
        assert reached
        np.testing.assert_allclose(gradient[support], alpha * np.sign(b[support]), rtol=1e-9)
        assert np.max(gradient if positive else np.abs(gradient)) <= alpha * (1 + 1e-9)
        assert not positive or b.min() == 0
        supports.append(set(support))
    assert max(len(before - after) for before, after in zip(supports, supports[1:])) > 20


def test_active_set_exchanges_dependent_features(rng):
    # more features than rows: at a small penalty a feature can enter only in exchange for another
    X, y = rng.normal(size=(6, 30)), rng.normal(size=6)
    solver = LassoActiveSet()
    solver.attach(np.asfortranarray(X.T @ X / 6), X.T @ y / 6)
    for alpha in (1e-1, 1e-3, 1e-6):
        _, reached = solver.solve(np.full(30, alpha), 1e-9, 1000)
        assert reached
        assert np.count_nonzero(solver.coefficients) <= 6
        gradient = X.T @ (y - X @ solver.coefficients) / 6
        assert np.abs(gradient).max() <= alpha * (1 + 1e-6)


def test_active_set_says_that_it_did_not_finish(rng):
    X, y = rng.normal(size=(40, 25)), rng.normal(size=40)
    solver = LassoActiveSet()
    solver.attach(np.asfortranarray(X.T @ X / 40), X.T @ y / 40)
    assert solver.solve(np.full(25, 1e-3), 1e-12, 1) == (1, False)


@pytest.mark.parametrize("l1_ratio", [0.0, 1e-3, 0.3, 0.97, 1.0])
@pytest.mark.parametrize("positive", [False, True], ids=["", "positive"])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_dual_norms(rng, l1_ratio, positive, scale):
    sizes = [1, 4, 2, 7, 1]
    penalty = layout(sizes, l1_ratio=l1_ratio, positive=positive)
    C = scale * rng.normal(size=(15, 3))
    C[5:7] = 0.0
    expected = [
        dual_norm(C, [np.arange(penalty.ptr[g], penalty.ptr[g + 1])], [penalty.weights[g]], l1_ratio, positive)
        for g in range(5)
    ]
    np.testing.assert_allclose(penalty.dual_norms(C), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["C", "F", "strided", "csc", "csc int64"])
def test_designs_compute_the_same(rng, dtype, kind):
    X = rng.normal(size=(30, 8)).astype(dtype)
    X[:, 2] += 1000.0  # seen shifted
    X[rng.random((30, 8)) < 0.4] = 0.0
    X[:, 2] = 1000.0 + rng.normal(size=30)
    exact = X.astype(np.float64)
    if kind in ("C", "F"):
        stored = np.array(X, order=kind)
    elif kind == "strided":
        stored = np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]
    else:
        stored = sparse.csc_array(X)
        if kind.endswith("int64"):
            stored.indices, stored.indptr = stored.indices.astype(np.int64), stored.indptr.astype(np.int64)
    v = rng.random(30)
    v /= v.sum()
    design = make_design(stored, v, True)
    np.testing.assert_allclose(design.mean, v @ exact, rtol=1e-12)
    np.testing.assert_array_equal(np.flatnonzero(design.shift), [2])
    shifted = exact - design.shift
    R, B, some = rng.normal(size=(30, 3)), rng.normal(size=(2, 3)), np.array([2, 5])
    np.testing.assert_allclose(design.columns(some), shifted[:, some], rtol=1e-14)
    np.testing.assert_allclose(design.correlate(R), shifted.T @ R, atol=1e-10)
    np.testing.assert_allclose(design.correlate_some(some, R), shifted[:, some].T @ R, atol=1e-10)
    for width in (1, 2, 8, 9):
        many = rng.normal(size=(30, width))
        np.testing.assert_allclose(design.correlate(many), shifted.T @ many, atol=1e-10)
    for columns in (some, np.array([5, 1])):
        for order in ("C", "F"):
            residual = np.array(R, order=order)
            design.subtract_product(columns, B, residual)
            np.testing.assert_allclose(residual, R - shifted[:, columns] @ B, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 30])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moments_of_columns(rng, n, order, dtype):
    X = np.array(rng.normal(size=(n, 5)) + [0.0, 1.0, 1e4, -1e4, 0.0], dtype=dtype, order=order)
    v = rng.random(n) * (np.arange(n) != 0) if n > 1 else np.ones(1)
    v /= v.sum()
    mean, deviation = dense_moments(X, v)
    exact = X.astype(np.longdouble)
    expected = v @ exact
    np.testing.assert_allclose(mean, expected.astype(float), rtol=1e-13, atol=1e-15)
    expected = np.sqrt(v @ (exact - expected) ** 2)
    np.testing.assert_allclose(deviation, expected.astype(float), rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("n", [1, 3, 8, 29, 6000])
@pytest.mark.parametrize("p", [1, 3, 9])
def test_few_products(rng, n, p):
    """Parts of matrices with contiguous columns, every number of vectors; infinities and NaN as by definition."""
    X, R = np.asfortranarray(rng.normal(size=(n, p + 4))), np.asfortranarray(rng.normal(size=(n + 2, 13)))
    for width in range(14):
        out = np.asfortranarray(rng.normal(size=(p + 3, width)))
        expected = out[1 : 1 + p] + X[:, 2 : 2 + p].T @ R[1 : 1 + n, :width]
        rest = out[1 + p :].copy()
        dense_correlate(X[:, 2 : 2 + p], R[1 : 1 + n, :width], out[1 : 1 + p])
        np.testing.assert_allclose(out[1 : 1 + p], expected, atol=1e-12 * n)
        np.testing.assert_array_equal(out[1 + p :], rest)
    for wrong in (np.inf, np.nan):
        X[n // 2, 2] = wrong
        out = np.zeros((p, 2), order="F")
        dense_correlate(X[:, 2 : 2 + p], R[:n, :2], out)
        assert not np.isfinite(out[0]).any()
        assert np.isfinite(out[1:]).all()


@pytest.mark.parametrize("positive", [False, True], ids=["", "positive"])
@pytest.mark.parametrize("l1", [0.0, 0.05])
@pytest.mark.parametrize("n_targets", [1, 2, 20])
def test_cycles_over_single_features(rng, n_targets, l1, positive):
    """Steps that wait for each other change nothing: cycle after cycle as written out."""
    n, m, bound = 30, 41, 0.3
    A, Y = np.asfortranarray(rng.normal(size=(n, m)) / np.sqrt(n)), rng.normal(size=(n, n_targets))
    offset, start = 0.01 * rng.normal(size=(m, n_targets)), 0.1 * rng.normal(size=(m, n_targets))
    start[rng.random(m) < 0.5] = 0.0
    start = np.abs(start) if positive else start
    order, bounds = np.sort(rng.permutation(m)[:37]), np.full(m, bound)
    G, ptr = np.asfortranarray(A.T @ A), np.arange(m + 1)
    sizes = np.diag(G).copy()
    parts = (sizes, np.ones(m), sizes, ptr, positive, 3)
    expected = start.copy()
    for _ in range(3):
        for j in order:
            z = A[:, j] @ (Y - A @ expected) + offset[j] + sizes[j] * expected[j]
            z = np.maximum(z - l1, 0.0) if positive else np.sign(z) * np.maximum(np.abs(z) - l1, 0.0)
            norm = np.linalg.norm(z)
            expected[j] = 0.0 if norm <= bound else (1.0 - bound / norm) * z / sizes[j]
    B, gradient = start.copy(), A.T @ (Y - A @ start) + offset
    block_descent(G, B, gradient, ptr, order, bounds, l1, *parts)
    np.testing.assert_allclose(B, expected, atol=1e-13)
    np.testing.assert_allclose(gradient, A.T @ (Y - A @ expected) + offset, atol=1e-12)
    B, residual = start.copy(), Y - A @ start
    block_descent_on_rows(A, B, residual, offset, ptr, order, bounds, l1, *parts)
    np.testing.assert_allclose(B, expected, atol=1e-13)
    np.testing.assert_allclose(residual, Y - A @ expected, atol=1e-12)
    assert 0 < np.count_nonzero(expected.any(axis=1)) < m


@pytest.mark.parametrize("n", [1, 7, 29, 511, 1100])
@pytest.mark.parametrize("weights", ["equal", "unequal"])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("exact_mean", [False, True])
@pytest.mark.parametrize("order", ["F", "C"])
def test_gram_matrix_of_some_columns(rng, n, weights, fit_intercept, exact_mean, order):
    """Of columns as they are, of shifted ones, and where there is more to form than our kernel takes."""
    X = rng.normal(size=(n, 300)) + rng.normal(size=300)
    X[:, 290:] += 3000.0 * fit_intercept
    v = np.ones(n) if weights == "equal" else rng.random(n) + 0.1
    v /= v.sum()
    design = make_design(np.array(X, order=order), v, fit_intercept, exact_mean)
    seen = X - v @ X if fit_intercept else X
    for columns in (rng.permutation(290), rng.permutation(300), np.array([5]), rng.permutation(17)):
        for n_last in {1, 5, len(columns) // 2, len(columns)} & set(range(1, len(columns) + 1)):
            store = np.full((len(columns) + 2, n_last), np.nan, order="F")
            design.gram(columns, n_last, v, fit_intercept, store[: len(columns)])
            expected = seen[:, columns].T @ (v[:, None] * seen[:, columns[len(columns) - n_last :]])
            np.testing.assert_allclose(store[: len(columns)], expected, atol=1e-11)
            corner = store[len(columns) - n_last : len(columns)]
            np.testing.assert_array_equal(corner, corner.T)
            assert np.isnan(store[len(columns) :]).all()


@pytest.mark.parametrize("container", [np.asfortranarray, np.ascontiguousarray, sparse.csc_array])
def test_correlations_in_threads(rng, monkeypatch, container):
    X = rng.normal(size=(40, 11))
    X[:, 3] += 1000.0
    design = make_design(container(X), np.full(40, 1 / 40), True)
    for width in (1, 4, 6, 7, 20):
        R = rng.normal(size=(40, width))
        expected = (X - design.shift).T @ R
        for n_threads in (1, 2, 16):
            with threads(n_threads) as (count, run):
                np.testing.assert_allclose(design.correlate(R, run, count), expected, atol=1e-10)
        monkeypatch.setattr("skspar._engine.design.blas_threads", lambda: 1)
        np.testing.assert_allclose(design.correlate(R), expected, atol=1e-10)
        monkeypatch.undo()


def test_threads_do_not_disturb_each_other(rng):
    problems = [(rng.normal(size=(40, 60)), rng.normal(size=40)) for _ in range(8)]

    def fit(problem):
        return GroupLasso(0.05, groups=4, l1_ratio=0.2, tol=1e-12).fit(*problem).coef_

    alone = [fit(problem) for problem in problems]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(fit, problems * 3))
    for k, coef in enumerate(together):
        np.testing.assert_allclose(coef, alone[k % 8], atol=1e-12)


LAYOUTS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "columns of a larger one": lambda M: np.asfortranarray(np.pad(M, ((0, 3), (2, 2))))[:-3, 2:-2],
    "rows of a larger one": lambda M: np.ascontiguousarray(np.pad(M, ((1, 1), (0, 2))))[1:-1, :-2],
    "every other": lambda M: np.repeat(np.repeat(M, 2, axis=0), 3, axis=1)[::2, ::3],
    "reversed": lambda M: np.ascontiguousarray(M[::-1, ::-1])[::-1, ::-1],
    "read-only": lambda M: (lambda copy: (copy.setflags(write=False), copy)[1])(M.copy()),
}


@pytest.mark.parametrize("of_b", LAYOUTS)
@pytest.mark.parametrize("of_a", LAYOUTS)
@pytest.mark.parametrize("shape", [(4, 3, 2), (4, 3, 1), (1, 3, 2), (4, 1, 2), (1, 1, 1), (1, 5, 1), (3, 1, 1)])
def test_product_of_any_layout(rng, shape, of_a, of_b):
    m, k, n = shape
    A, B = rng.normal(size=(m, k)), rng.normal(size=(k, n))
    a, b = LAYOUTS[of_a](A), LAYOUTS[of_b](B)
    np.testing.assert_allclose(product(a, b), A @ B, atol=1e-14)
    np.testing.assert_allclose(product(a, b[:, 0]), A @ B[:, 0], atol=1e-14)
    np.testing.assert_allclose(self_product(a), A.T @ A, atol=1e-14)
    for of_out in list(LAYOUTS)[:4]:
        out = LAYOUTS[of_out](np.ones((m, n)))
        assert product(a, b, out, scale=-2.0, keep=3.0) is out
        np.testing.assert_allclose(out, 3.0 - 2.0 * (A @ B), atol=1e-13)


def test_product_of_nothing():
    np.testing.assert_array_equal(product(np.ones((3, 0)), np.ones((0, 2))), np.zeros((3, 2)))
    assert product(np.ones((0, 3)), np.ones((3, 2))).shape == (0, 2)
    out = np.ones((3, 2))
    np.testing.assert_array_equal(product(np.ones((3, 0)), np.ones((0, 2)), out, keep=0.5), np.full((3, 2), 0.5))
    with pytest.raises(ValueError, match="do not match"):
        product(np.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="out has shape"):
        product(np.ones((3, 2)), np.ones((2, 3)), np.empty((2, 2)))


@pytest.mark.parametrize("size", [1, 63, 64, 65, 131])
def test_symmetric(rng, size):
    full = rng.normal(size=(size, size))
    full += full.T
    np.testing.assert_array_equal(symmetric(np.asfortranarray(np.tril(full))), full)


@pytest.mark.parametrize("n_targets", [1, 3, 20])
@pytest.mark.parametrize("n", [12, 40])
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_newton_directions(rng, n_targets, n, masked):
    # against the Hessian written out in full
    sizes = [1, 4, 2, 7, 1, 5]
    starts = np.cumsum([0, *sizes[:-1]])
    owner = np.repeat(np.arange(6), sizes)
    d = sum(sizes)
    A, b = np.asfortranarray(rng.normal(size=(n, d))), rng.normal(size=(d, n_targets))
    free = np.ones(b.shape, dtype=bool)
    if masked:
        free[[2, 3, 9], 0] = False
        free[0] = True
    b[~free] = 0.0
    norms = np.sqrt(np.add.reduceat((b**2).sum(axis=1), starts))
    ridge, units = rng.uniform(0.1, 2.0, 6)[owner], b / norms[owner, None]
    H = np.kron(A.T @ A, np.eye(n_targets))
    for g in range(6):
        on = np.repeat(owner == g, n_targets)
        u = np.where(on, units.ravel(), 0.0)
        H += ridge[owner == g][0] * (np.diag(on.astype(float)) - np.outer(u, u))
    kept = free.ravel()
    sides = [np.where(free, rng.normal(size=b.shape), 0.0) for _ in range(2)]
    curvature = Curvature(ridge, units, starts, owner, free)
    by_gram = directions_from_gram(np.asfortranarray(A.T @ A), curvature, sides)
    by_rows, _ = directions_from_rows(A, curvature, sides)
    for found in (by_gram, by_rows):
        for x, side in zip(found, sides):
            expected = np.zeros(b.size)
            expected[kept] = np.linalg.solve(H[np.ix_(kept, kept)], side.ravel()[kept])
            np.testing.assert_allclose(x.ravel(), expected, rtol=1e-6, atol=1e-8)


def newton_system(rng, n, sizes, n_targets):
    starts, owner = np.cumsum([0, *sizes[:-1]]), np.repeat(np.arange(len(sizes)), sizes)
    b = rng.normal(size=(sum(sizes), n_targets))
    ridge, norms = rng.uniform(0.1, 2.0, len(sizes))[owner], np.sqrt(np.add.reduceat((b**2).sum(axis=1), starts))
    return Curvature(ridge, b / norms[owner, None], starts, owner, np.ones(b.shape, dtype=bool))


@pytest.mark.parametrize("n_targets", [1, 3, 20])
@pytest.mark.parametrize("sizes", [[2] * 30, [4] * 15], ids=["pairs", "fours"])
def test_newton_directions_in_single_precision(rng, n_targets, sizes):
    A = np.asfortranarray(rng.normal(size=(40, 60)) * rng.uniform(0.1, 10.0, 60))
    curvature = newton_system(rng, 40, sizes, n_targets)
    sides = [rng.normal(size=(60, n_targets)) for _ in range(2)]
    exact, _ = directions_from_rows(A, curvature, sides)
    rough, system = directions_from_rows(A, curvature, sides, np.float32)
    for x, expected in zip([*rough, *system.solve(sides[:1])], [*exact, exact[0]]):
        assert np.linalg.norm(x - expected) <= 0.01 * np.linalg.norm(expected)


def test_updated_gram_of_rows(rng):
    """Along a path: features come and go, ridges change by a common factor, some by more; columns are appended."""
    n, size = 30, 4
    A = np.asfortranarray(rng.normal(size=(n, 240)))
    norms = 0.1 + rng.random(60)
    gram, n_updates = RowGram(), 0
    for step in range(60):
        width = 160 if step < 30 else 240
        active = np.sort(rng.choice(width // size, width // size - 3, replace=False))
        norms *= np.where(rng.random(60) < 0.2, 1 + 0.5 * rng.random(60), 1 + 0.01 * rng.normal(size=60))
        ridge = np.repeat(0.95**step / norms[active], size)
        places = (size * active[:, None] + np.arange(size)).ravel()
        kept = np.ones(len(places), dtype=bool) if step % 3 else rng.random(len(places)) < 0.9
        owner = np.unique(np.repeat(active, size)[kept], return_inverse=True)[1]
        starts = np.flatnonzero(np.diff(owner, prepend=-1))
        curvature = Curvature(ridge[kept], np.zeros((kept.sum(), 1)), starts, owner, np.ones((kept.sum(), 1), bool))
        K, used = gram(A[:, :width], places[kept], curvature)
        assert K.dtype == np.float32
        np.testing.assert_allclose(used, np.repeat(used[starts], np.bincount(owner)), rtol=1e-12)
        assert np.all(np.abs(used / ridge[kept] - 1) <= 0.12)
        n_updates += np.any(used != ridge[kept])
        columns = A[:, places[kept]]
        expected = (columns / used) @ columns.T
        np.testing.assert_allclose(np.tril(K), np.tril(expected), atol=3e-5 * np.abs(expected).max())
    assert 20 < n_updates < 59


def test_updated_gram_of_rows_does_not_cancel(rng):
    """A group that weighed a million times as much as the others leaves: the matrix is computed afresh."""
    A, gram = np.asfortranarray(rng.normal(size=(10, 40))), RowGram()

    def matrix(places, ridge):
        d = len(places)
        curvature = Curvature(ridge, np.zeros((d, 1)), np.arange(d), np.arange(d), np.ones((d, 1), bool))
        K, used = gram(A, places, curvature)
        columns = A[:, places]
        expected = (columns / used) @ columns.T
        np.testing.assert_allclose(np.tril(K), np.tril(expected), atol=1e-5 * np.abs(expected).max())

    every = np.arange(40)
    matrix(every, np.where(every == 7, 1e-6, 1.0))
    matrix(np.delete(every, 7), np.ones(39))
    # nor does an overflow stay
    with np.errstate(over="ignore", invalid="ignore"):
        gram(A, every, Curvature(np.full(40, 1e-80), np.zeros((40, 1)), every, every, np.ones((40, 1), bool)))
    matrix(every, np.ones(40))


@pytest.mark.parametrize("n_targets", [1, 3])
def test_direction_from_earlier_factors(rng, n_targets):
    # of other groups, at other coefficients
    X = rng.normal(size=(40, 60))
    penalty = layout([4] * 15)
    problem = Regression(X, rng.normal(size=(40, n_targets)), np.ones(40), penalty, False).rows
    form = RowForm(problem)
    [q] = drive(problem.design, [problem.correlations_at_zero()])
    form.grow(np.arange(60), q)
    assert form.improved(np.arange(8), None, None, 0.1) == (None, None)
    before, after = np.arange(40), np.concatenate([np.arange(12), np.arange(20, 48)])
    curvature = newton_system(rng, 40, [4] * 10, n_targets)
    form.directions(before, curvature, [q[before]], np.float32)
    curvature = newton_system(rng, 40, [4] * 10, n_targets)
    step, image = form.improved(after, curvature, q[after], 1e-9)
    expected, _ = directions_from_rows(np.asfortranarray(form.A[:, after]), curvature, [q[after]])
    if n_targets == 1:
        # in so many dimensions conjugate gradients have not come to an end
        assert np.linalg.norm(step - expected[0]) <= 0.2 * np.linalg.norm(expected[0])
    assert np.sum(step * q[after]) > 0.0
    np.testing.assert_allclose(image, form.A[:, after] @ step, atol=1e-10)


def largest_gap(X, Y, alphas, coefs):
    """Of a path with groups of five and no intercept, relative."""
    groups = np.arange(X.shape[1]).reshape(-1, 5)
    problem = Problem(X, Y, groups, np.full(len(groups), np.sqrt(5.0)), fit_intercept=False)
    return max(problem.at(alpha).relative_gap(coef) for alpha, coef in zip(alphas, np.moveaxis(coefs, -1, 0)))


@pytest.mark.parametrize("n_targets", [1, 4])
@pytest.mark.parametrize("spoiled", ["nan", "wrong", "failed"])
def test_path_does_not_rely_on_single_precision(rng, monkeypatch, n_targets, spoiled):
    class Spoiled(RowSystem):
        def __init__(self, A, curvature, dtype, K=None):
            if spoiled == "failed" and dtype == np.float32:
                raise np.linalg.LinAlgError
            super().__init__(A, curvature, dtype, K)

        def solve(self, sides):
            found = super().solve(sides)
            if self.dtype == np.float32:
                return [np.full_like(x, np.nan) if spoiled == "nan" else rng.normal(size=x.shape) for x in found]
            return found

    monkeypatch.setattr(newton, "RowSystem", Spoiled)
    X, Y = rng.normal(size=(25, 200)), rng.normal(size=(25, n_targets))
    alphas, coefs, gaps = group_lasso_path(X, Y, groups=5, eps=1e-2, tol=1e-10)
    assert largest_gap(X, Y, alphas, coefs) <= 1e-9


@pytest.mark.parametrize("n_targets", [1, 4])
def test_nearly_collinear_columns_in_single_precision(rng, n_targets):
    # the columns lie in a space of 12 dimensions but for 1e-6
    X = rng.normal(size=(30, 12)) @ rng.normal(size=(12, 300)) + 1e-6 * rng.normal(size=(30, 300))
    Y = rng.normal(size=(30, n_targets))
    alphas, coefs, gaps = group_lasso_path(X, Y, groups=5, eps=1e-3, tol=1e-8)
    assert np.all(gaps <= 1e-8 * 0.5 * np.mean(np.sum(Y**2, axis=1)))
    assert largest_gap(X, Y, alphas, coefs) <= 2e-8


@pytest.mark.parametrize("l1_ratio, positive", [(0.0, False), (0.4, False), (0.0, True), (0.4, True)])
@pytest.mark.parametrize("n_targets", [1, 3])
def test_forms_agree(rng, l1_ratio, positive, n_targets):
    X, Y = rng.normal(size=(15, 24)), rng.normal(size=(15, n_targets))
    penalty = layout([3, 5, 1, 4, 4, 7], l1_ratio=l1_ratio, positive=positive)
    problem = Regression(X, Y, rng.uniform(0.0, 2.0, 15), penalty, True).rows
    gram, rows = GramForm(problem), RowForm(problem)
    B = np.abs(rng.normal(size=(24, n_targets)))
    B[3:8] = 0.0
    [q] = drive(problem.design, [problem.correlations_at_zero()])
    for form in (gram, rows):
        form.grow(np.arange(9), q[:9])
        form.grow(np.arange(24), q)
        form.move_to(B)
    part = penalty.of_groups(np.arange(6))[0]
    diagonal = []
    for start, size in zip(penalty.ptr[:-1], penalty.sizes):
        [block] = gram.diagonal_blocks(np.array([start]), size)
        np.testing.assert_allclose(block, gram.G[start : start + size, start : start + size])
        np.testing.assert_allclose(block, rows.diagonal_blocks(np.array([start]), size)[0], atol=1e-12)
        diagonal.append(block)
    for form in (gram, rows):
        np.testing.assert_allclose(form.diagonal_blocks(penalty.ptr[3:5], 4), diagonal[3:5], atol=1e-12)
    pairs = [np.linalg.eigh(block) for block in diagonal]
    blocks = (
        np.concatenate([values for values, _ in pairs]),
        np.concatenate([vectors.T.ravel() for _, vectors in pairs]),
        np.concatenate([block.ravel() for block in diagonal]),
        np.cumsum([0, *(len(values) ** 2 for values, _ in pairs)]).astype(np.intp),
    )
    anchor = q * 0.9 + 0.01
    assert gram.rss(part) == pytest.approx(rows.rss(part), rel=1e-10)
    for _ in range(2):
        np.testing.assert_allclose(gram.gradient(part), rows.gradient(part), atol=1e-12)
        for form in (gram, rows):
            form.descend(part, np.arange(6), 0.1 * part.group_factors, 0.1 * part.l1_ratio, blocks, 3)
        np.testing.assert_allclose(gram.B, rows.B, atol=1e-10)
        np.testing.assert_allclose(gram.gradient(part), rows.gradient(part), atol=1e-10)
        active = part.active(gram.B)
        places = part.places(active)
        step = 0.1 * gram.B[places]
        images = [form.image(part, active, step) for form in (gram, rows)]
        assert gram.square(images[0], places, step) == pytest.approx(rows.square(images[1], places, step), rel=1e-10)
        for form, image in zip((gram, rows), images):
            form.step(part, places, step, image)
            updated = form.gradient(part).copy()
            form.refresh()
            np.testing.assert_allclose(updated, form.gradient(part), atol=1e-12)
        for form in (gram, rows):
            # from here on the gradient at this point is what it is said to be
            form.anchor(gram.B.copy(), anchor)
            np.testing.assert_allclose(form.gradient(part), anchor, atol=1e-12)


@pytest.mark.parametrize("kind", ["F", "C", "float32", "csc"])
@pytest.mark.parametrize("offset", [0.0, 3.0, 1e5], ids=["centred", "near", "far"])
@pytest.mark.parametrize("unpenalized", [[], [2]], ids=["", "unpenalized"])
@pytest.mark.parametrize("fit_intercept", [True, False], ids=["intercept", ""])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_gram_of_rows(rng, monkeypatch, kind, offset, unpenalized, fit_intercept, weighted):
    # a few rows at a time
    monkeypatch.setattr(design_module, "CACHED", 40)
    X = rng.normal(size=(70, 9)) + offset * (np.arange(9) % 2)
    X = X.astype(np.float32) if kind == "float32" else X
    given = {"F": np.asfortranarray, "C": np.ascontiguousarray}.get(kind, sparse.csc_array if kind == "csc" else None)
    weights = rng.uniform(size=70) * (np.arange(70) % 5 > 0) if weighted else np.ones(70)
    kept = np.setdiff1d(np.arange(9), unpenalized)
    penalty = BlockPenalty(kept, np.arange(len(kept) + 1), np.ones(len(kept)), np.array(unpenalized, dtype=np.intp))
    problem = Regression(
        X if given is None else given(X), rng.normal(size=(70, 1)), weights, penalty, fit_intercept
    ).rows
    features = rng.permutation(len(kept))[:6]
    # what is projected out, in long double where that is longer
    A, v = X.astype(np.longdouble), weights / weights.sum()
    against = np.column_stack([np.ones((70, int(fit_intercept))), A[:, unpenalized]]).astype(np.longdouble)
    for k in range(against.shape[1]):
        for other in against.T[:k]:
            against[:, k] -= other * (v * other) @ against[:, k]
        against[:, k] /= np.sqrt((v * against[:, k]) @ against[:, k])
    for _ in range(2):
        A = A - against @ (against.T @ (v[:, None] * A))
    chosen = A[:, kept[features]]
    expected = (chosen.T @ (v[:, None] * chosen)).astype(np.float64)
    size = np.abs(expected).max() if fit_intercept else 1.0 + offset**2
    for n_last in (6, 2):
        np.testing.assert_allclose(problem.gram(features, n_last), expected[:, 6 - n_last :], atol=1e-10 * size)


@pytest.mark.parametrize("shape", [(40, 300), (400, 60)], ids=["wide", "tall"])
@pytest.mark.parametrize("density", [1.0, 0.02], ids=["dense", "csc"])
@pytest.mark.parametrize("sizes, l1_ratio", [(1, 0.0), (5, 0.0), (5, 0.3)], ids=str)
def test_alphas_far_apart(rng, monkeypatch, shape, density, sizes, l1_ratio):
    # the points in between that lead the way change nothing, wherever they lie
    X, y = rng.normal(size=shape), rng.normal(size=shape[0])
    if density < 1.0:
        X = sparse.csc_array(X * (rng.random(shape) < density))
        monkeypatch.setattr(sparse_lasso, "LEAST", 2)
        monkeypatch.setattr(sparse_lasso, "DENSE", 0.0)
    y += 3.0 * (X @ (np.arange(shape[1]) % 29 == 0))
    options = dict(groups=None if sizes == 1 else sizes, l1_ratio=l1_ratio, tol=1e-10)
    dense = group_lasso_path(X, y, alphas=80, eps=1e-4, **options)
    few = dense[0][[30, 55, 79]]
    for settings in ((0.7, 0.03, 0.95), (0.9, 0.5, 0.99), (0.3, 1e-3, 0.5)):
        for name, value in zip(("LEAD", "FAR", "NEAR"), settings):
            monkeypatch.setattr(path_module, name, value)
        alphas, coefs, gaps = group_lasso_path(X, y, alphas=few, **options)
        assert gaps.max() <= 1e-10 * (y @ y) / (2 * shape[0])
        fits = [X @ c[:, at] for c, at in ((coefs, slice(None)), (dense[1], [30, 55, 79]))]
        np.testing.assert_allclose(*fits, atol=2e-4 * np.abs(y).max())


def test_many_targets_are_solved_in_stages(monkeypatch):
    """On the way to one alpha the working set lacks groups, and the solution on more of them lacks some, too."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(100, 2000))
    for j in range(1, 2000):
        X[:, j] = 0.5 * X[:, j - 1] + np.sqrt(0.75) * X[:, j]
    coef = np.zeros((2000, 20))
    coef[rng.choice(2000, 30, replace=False)] = rng.normal(size=(30, 20))
    signal = X @ coef
    Y = signal + rng.normal(size=signal.shape) * signal.std() / np.sqrt(3.0)
    problem = Problem(X, Y, [[j] for j in range(2000)], np.ones(2000), 1.0, 0.0, fit_intercept=False)
    problem = problem.at(0.15 * problem.alpha_max)
    solve, calls = WorkingSet.solve, []

    def spy(work, alpha, tol, max_iter, gap_target):
        iterations = solve(work, alpha, tol, max_iter, gap_target)
        calls.append((alpha, work.on_columns, len(work.groups), gap_target / work.problem.null_objective))
        return iterations

    monkeypatch.setattr(WorkingSet, "solve", spy)
    fit = GroupLasso(problem.alpha, fit_intercept=False, tol=1e-10).fit(X, Y)
    alphas, on_columns, sizes, goals = zip(*calls[-3:])
    assert len(set(alphas)) == 1 and all(on_columns) and sizes[0] < sizes[1] < sizes[2]
    np.testing.assert_allclose(goals, [path_module.LACK_TOL, path_module.MIDDLE_TOL, 0.6e-10])
    assert problem.relative_gap(fit.coef_) <= 1e-10


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("stands_out", [0.0, 1.0])
def test_large_means_show_in_a_few_rows(stands_out, weighted, order, rng):
    """Whatever the first rows look like beside the others, no column whose mean is large is taken for another."""
    n, levels = 4000, np.r_[0.0, 5.0, 60.0, 90.0, 110.0, 130.0, 1e4, 1e9, 0.0, 7.0]
    Z = rng.normal(size=(n, 60))
    # the first rows are as far away as they can be, at no more than their share of the variance
    Z[:100] = 0.1 * Z[:100] - stands_out * np.sqrt(n / 100)
    Z[100:] *= 1.0 - 0.99 * stands_out
    X = (Z - Z.mean(axis=0)) / Z.std(axis=0) + np.resize(levels, 60)
    X[:, -1] = 7.0
    X[:150, -2] = 0.0
    v = rng.uniform(0.5, 1.5, n) if weighted else np.ones(n)
    v /= v.sum()
    # all columns, of which many have large means, and some of which few have
    for columns in (np.arange(60), np.r_[0:60:10, 1:60:10, 2:60:10, 4, 58, 59]):
        part = np.asarray(X[:, columns], order=order)
        wide = part.astype(np.longdouble)
        mean = np.average(wide, axis=0, weights=v)
        far = np.abs(mean) > 100.0 * np.sqrt(np.average((wide - mean) ** 2, axis=0, weights=v))
        assert far.any() and not far.all()
        rough = make_design(part, v, True, exact_mean=False)
        np.testing.assert_array_equal(rough.shift != 0.0, far)
        np.testing.assert_allclose(rough.shift[far], mean[far].astype(float), rtol=1e-14)
        np.testing.assert_array_equal(make_design(part, v, False, exact_mean=False)._added != 0.0, far)
        exact = make_design(part, v, True)
        np.testing.assert_allclose(exact.mean, mean.astype(float), rtol=1e-12, atol=1e-12)


def single_moments(monkeypatch):
    """Moments pay from now on, in single precision too; returns what is formed so."""
    formed, form = [], folds.Moments.in_single
    monkeypatch.setattr(folds, "_moments_pay", lambda *_: True)
    monkeypatch.setattr(folds, "WIDE", 2)

    def spy(*arguments):
        formed.append(form(*arguments))
        return formed[-1]

    monkeypatch.setattr(folds.Moments, "in_single", spy)
    return formed


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("sizes, l1_ratio, T", [([1] * 60, 0.0, 1), ([5] * 12, 0.0, 1), ([5] * 12, 0.4, 2)], ids=str)
def test_moments_in_single_precision(sizes, l1_ratio, T, fit_intercept, weighted, order, rng, monkeypatch):
    """They find solutions whose gap the rows tell, as small as asked for; scales of columns differ as they may."""
    n, p = 1500, 60
    X = np.asarray((rng.normal(size=(n, p)) + 3.0 * rng.normal(size=p)) * 10.0 ** rng.integers(-3, 4, p), order=order)
    Y = X[:, :10] @ (rng.normal(size=(10, T)) / X[:, :10].std(axis=0)[:, None]) + rng.normal(size=(n, T))
    s = rng.choice([0.0, 0.5, 2.0], n) if weighted else None
    groups = np.repeat(np.arange(len(sizes)), sizes)
    options = dict(groups=groups, l1_ratio=l1_ratio, sample_weight=s, return_intercepts=fit_intercept)
    # the last block is smaller
    monkeypatch.setattr(design_module, "SINGLE", 400 * p)
    formed = single_moments(monkeypatch)
    for fraction in (0.3, 0.03, 0.001):
        top = group_lasso_path(X, Y, alphas=1, **options)[0][0]
        del formed[:]
        _, coefs, gaps, *b0 = group_lasso_path(X, Y, alphas=[fraction * top], tol=1e-9, **options)
        assert len(formed) == 1 and formed[0] is not None
        members = [np.flatnonzero(groups == g) for g in range(len(sizes))]
        problem = Problem(
            X, Y, members, np.sqrt(sizes), fraction * top, l1_ratio, sample_weight=s, fit_intercept=fit_intercept
        )
        gap = problem.objective(coefs[..., 0]) - problem.dual_objective(coefs[..., 0], best_scale=True)
        assert gap <= 1e-9 * problem.null_objective
        np.testing.assert_allclose(gaps[0], gap, atol=1e-12 * problem.null_objective)


@pytest.mark.parametrize("kind", ["too large", "too small", "zero", "wrong", "alphas"])
def test_single_precision_gives_way(kind, rng, monkeypatch):
    """To doubles, where its range does not suffice, where the rows do not confirm what it finds, and on paths."""
    X = rng.normal(size=(300, 20))
    y = X[:, :4].sum(axis=1) + rng.normal(size=300)
    if kind in ("too large", "too small"):
        X[:, 3] *= 1e25 if kind == "too large" else 1e-25
    if kind == "zero":
        X[:, 5] = 0.0
    formed = single_moments(monkeypatch)
    if kind == "wrong":
        form = design_module.DenseDesign.single_gram
        monkeypatch.setattr(design_module.DenseDesign, "single_gram", lambda *given: 30.0 * form(*given))
    alpha = 0.05 * group_lasso_path(X, y, alphas=1)[0][0]
    del formed[:]
    alphas = np.full(4, alpha) * [8, 4, 2, 1] if kind == "alphas" else [alpha]
    *_, gaps = group_lasso_path(X, y, alphas=alphas, tol=1e-10)
    assert len(formed) == (kind != "alphas") and all((moments is None) == (kind != "wrong") for moments in formed)
    assert gaps.max() <= 1e-10 * (y @ y) / 600


@pytest.mark.parametrize("n_vectors", [1, 3, 40])
@pytest.mark.parametrize("count", [3, 12, 30, 40])
def test_products_of_some_columns(n_vectors, count, rng):
    """By copies of them, or with all at once; a column may come twice."""
    X = np.asfortranarray(rng.normal(size=(200, 30)))
    design = make_design(X, np.full(200, 1 / 200), False)
    columns = rng.integers(30, size=count) if count == 40 else rng.permutation(30)[:count]
    R, B = rng.normal(size=(200, n_vectors)), rng.normal(size=(count, n_vectors))
    np.testing.assert_allclose(design.correlate_some(columns, R), X[:, columns].T @ R, atol=1e-12)
    out = np.asfortranarray(R.copy())
    design.subtract_product(columns, B, out)
    np.testing.assert_allclose(out, R - X[:, columns] @ B, atol=1e-12)


def test_blas_gets_its_threads_back():
    """Whoever comes and goes while others are within, in whatever order."""
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        first, second = ExitStack(), ExitStack()
        first.enter_context(one_blas_thread)
        second.enter_context(threads(2))
        first.close()
        assert blas_threads() == 1
        first.enter_context(one_blas_thread)
        second.close()
        assert blas_threads() == 1
        first.close()
        assert blas_threads() == before
        with pytest.raises(ZeroDivisionError), one_blas_thread:
            raise ZeroDivisionError
        assert blas_threads() == before


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_kernel_threads_keep_the_order(n_threads):
    def fail():
        raise ZeroDivisionError

    with kernel_threads(n_threads) as run:
        names = run([lambda i=i: (i, threading.get_ident()) for i in range(7)])
        assert [i for i, _ in names] == list(range(7)) and len({name for _, name in names}) <= n_threads
        for thunks in ([fail, int], [int, fail]):
            with pytest.raises(ZeroDivisionError):
                run(thunks)
