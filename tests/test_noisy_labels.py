"""The row-sparse path and the detector of noisy labels."""

import itertools
import pickle
import warnings

import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import eigh
from scipy.optimize import approx_fprime, minimize
from scipy.special import betaln, gammaln, logsumexp
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomTreesEmbedding
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import enet_path
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import FunctionTransformer

from skspar import NoisyLabelDetector, OutlierPathDisplay, _label_fit, label_noise_path
from skspar._engine import noise_transition
from skspar._engine._transition_steps import own_largest
from skspar._engine.label_cuts import knockoff_threshold, lowest, selection
from skspar.datasets import make_label_noise


def clusters(n=80, p=5, n_classes=3, rate=0.1, seed=0, distance=1.0):
    """Gaussian classes, some labels wrong."""
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n)
    y[: 2 * n_classes] = np.arange(2 * n_classes) % n_classes
    X = distance * rng.normal(size=(n_classes, p))[y] + rng.normal(size=(n, p))
    noisy, is_wrong = make_label_noise(y, rate=rate, random_state=seed)
    return X, noisy, is_wrong


def quiet(**options):
    """A detector that flags without a promise."""
    return NoisyLabelDetector(cut="threshold", level=0.5, random_state=0, **options)


def dense_form(X, Y, weights=None):
    """I - H, and (I - H) Y, in the metric of the weights; written from the definition."""
    root = np.sqrt(np.ones(len(X)) if weights is None else weights)[:, None]
    A = root * np.column_stack([np.ones(len(X)), X])
    left = np.eye(len(X)) - A @ np.linalg.pinv(A)
    return left, left @ (root * Y)


def gammas(path, X, Y):
    """Gamma at each alpha, from coefficients."""
    for k, alpha in enumerate(path.alphas):
        R = Y - path.intercepts[:, k] - X @ path.coefs[:, :, k].T
        norms = np.linalg.norm(R, axis=1, keepdims=True)
        yield np.maximum(1.0 - alpha / norms, 0.0) * R


class TestPath:
    def test_equals_the_multi_task_lasso_of_the_dense_form(self):
        X, y, _ = clusters()
        Y = np.eye(3)[y]
        left, target = dense_form(X, Y)
        path = label_noise_path(X, y, alphas=20, tol=1e-14)
        _, expected, _ = enet_path(left, target, l1_ratio=1.0, alphas=path.alphas / 80, tol=1e-14, max_iter=100_000)
        for k, gamma in enumerate(gammas(path, X, Y)):
            np.testing.assert_allclose(gamma, expected[:, :, k].T, atol=1e-6)
            np.testing.assert_allclose(
                path.gamma_norms[:, [k]].toarray()[:, 0], np.linalg.norm(gamma, axis=1), atol=1e-9
            )

    def test_weights_are_those_of_the_definition(self):
        X, y, _ = clusters()
        Y = np.eye(3)[y]
        weights = np.random.default_rng(1).uniform(0.2, 3.0, size=80)
        path = label_noise_path(X, y, alphas=[0.9, 0.5, 0.2], sample_weight=weights, tol=1e-14)
        # gamma' = sqrt(s) gamma has the penalty alpha sqrt(s) ||gamma'||: columns divided by it
        left, target = dense_form(X, Y, weights)
        scaled = left / np.sqrt(weights)
        _, expected, _ = enet_path(scaled, target, l1_ratio=1.0, alphas=path.alphas / 80, tol=1e-14, max_iter=100_000)
        for k, gamma in enumerate(gammas(path, X, Y)):
            np.testing.assert_allclose(gamma, expected[:, :, k].T / weights[:, None], atol=1e-6)

    def test_gap_recomputed(self):
        X, y, _ = clusters(200, 6, 4)
        Y = np.eye(4)[y]
        left, _ = dense_form(X, Y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            path = label_noise_path(X, y, alphas=10, tol=1e-3)
        for k, (alpha, gamma) in enumerate(zip(path.alphas, gammas(path, X, Y), strict=True)):
            R = Y - path.intercepts[:, k] - X @ path.coefs[:, :, k].T
            primal = 0.5 * np.sum((R - gamma) ** 2) + alpha * np.linalg.norm(gamma, axis=1).sum()
            theta = left @ (R - gamma)
            theta *= min(1.0, alpha / np.linalg.norm(theta, axis=1).max())
            gap = primal - (np.vdot(theta, Y) - 0.5 * np.vdot(theta, theta))
            assert path.dual_gaps[k] * 200 == pytest.approx(gap, rel=1e-6, abs=1e-10)

    def test_order_of_entry_is_that_of_bisection(self):
        X, y, _ = clusters(60, 4, 3, seed=3)
        left, target = dense_form(X, np.eye(3)[y])
        path = label_noise_path(X, y, alphas=20, eps=0.05)

        def enters(alpha):
            _, coef, _ = enet_path(left, target, l1_ratio=1.0, alphas=[alpha / 60], tol=1e-14, max_iter=100_000)
            return np.linalg.norm(coef[:, :, 0], axis=0) > 0.0

        reached = np.flatnonzero(path.entry_alphas > path.alphas[-1])
        assert len(reached) > 40
        bisected = []
        for i in reached:
            low, high = 0.999 * path.entry_alphas[i], 1.001 * path.entry_alphas[i]
            for _ in range(12):
                middle = 0.5 * (low + high)
                low, high = (middle, high) if enters(middle)[i] else (low, middle)
            bisected.append(low)
        np.testing.assert_allclose(path.entry_alphas[reached], bisected, rtol=2e-6)
        np.testing.assert_array_equal(np.argsort(path.entry_alphas[reached]), np.argsort(bisected))

    def test_equivariance(self):
        X, y, _ = clusters()
        entries = label_noise_path(X, y).entry_alphas
        order = np.random.default_rng(0).permutation(80)
        np.testing.assert_allclose(label_noise_path(X[order], y[order]).entry_alphas, entries[order], rtol=1e-6)
        Y = np.eye(3)[y]
        np.testing.assert_allclose(label_noise_path(X, Y + [5.0, -3.0, 1e4]).entry_alphas, entries, rtol=1e-6)
        wide = np.column_stack([X, np.full(80, 7.0)])
        np.testing.assert_allclose(label_noise_path(wide, y).entry_alphas, entries, rtol=1e-6)
        np.testing.assert_allclose(label_noise_path(1e8 + 1e3 * X, y).entry_alphas, entries, rtol=1e-4)
        doubled = np.column_stack([X, X[:, 0]])
        np.testing.assert_allclose(label_noise_path(doubled, y).entry_alphas, entries, rtol=1e-6)
        np.testing.assert_allclose(label_noise_path(X, 1e-9 * Y).entry_alphas, 1e-9 * entries, rtol=1e-6)

    def test_weight_two_is_a_row_twice_and_zero_none(self):
        X, y, _ = clusters()
        weights = np.random.default_rng(0).integers(0, 3, size=80)
        weighted = label_noise_path(X, y, sample_weight=weights, alphas=10)
        repeated = label_noise_path(np.repeat(X, weights, axis=0), np.repeat(y, weights), alphas=10)
        np.testing.assert_allclose(weighted.coefs, repeated.coefs, atol=1e-6)
        np.testing.assert_allclose(np.repeat(weighted.entry_alphas, weights), repeated.entry_alphas, rtol=1e-5)
        assert not weighted.entry_alphas[weights == 0].any()

    def test_binary_many_points_and_float32(self):
        X, y, _ = clusters(300, 4, 2)
        path = label_noise_path(X, y, alphas=100, eps=1e-3, tol=1e-10)
        assert path.dual_gaps.max() * 300 <= 1e-10 * 0.5 * 300
        again = label_noise_path(X.astype(np.float32), y, alphas=path.alphas)
        np.testing.assert_allclose(again.entry_alphas, path.entry_alphas, rtol=1e-3)

    def test_strings_and_responses(self):
        data = load_iris()
        path = label_noise_path(data.data, data.target_names[data.target], alphas=5)
        assert path.classes.tolist() == sorted(data.target_names)
        assert label_noise_path(data.data, np.eye(3)[data.target], alphas=5).classes is None
        assert path.alphas.shape == (5,) and path.coefs.shape == (3, 4, 5) and path.intercepts.shape == (3, 5)

    def test_errors(self):
        X, y, _ = clusters()
        for change, match in [
            ({"y": np.zeros(80)}, "two classes"),
            ({"y": np.linspace(0, 1, 80)}, "Unknown label type"),
            ({"y": y[:-1]}, "inconsistent"),
            ({"alphas": [1.0, 0.0]}, "alphas must be positive"),
            ({"alphas": 0}, "alphas"),
            ({"eps": 1.0}, "eps"),
            ({"X": np.where(X > 2, np.nan, X)}, "NaN"),
            ({"X": np.random.default_rng(0).normal(size=(80, 79))}, "80 independent columns"),
        ]:
            with pytest.raises(ValueError, match=match):
                label_noise_path(**{"X": X, "y": y, **change})

    def test_says_when_it_does_not_converge(self):
        X, y, _ = clusters()
        with pytest.warns(ConvergenceWarning, match="raise max_iter"):
            label_noise_path(X, y, alphas=[0.3], max_iter=1, tol=1e-12)

    def test_picture(self):
        pytest.importorskip("matplotlib").use("Agg")
        X, y, is_wrong = clusters(distance=3.0)
        display = OutlierPathDisplay.from_path(label_noise_path(X, y), outlier_mask=is_wrong)
        assert len(display.lines_) == is_wrong.sum()
        assert "Gamma" in display.ax_.get_ylabel()


def literal_steps(rows, model, n_steps):
    """The steps of `noise_transition` in NumPy."""
    C, c = rows.n_classes, noise_transition.CONCENTRATIONS[:, None]
    b, D, T, targets = model.offset, model.tilt, model.transition, rows.one_hot
    rate, freedom, own = model.rate, 0.0, np.eye(C, dtype=bool)

    def weigh(loglik):
        return np.exp(loglik - logsumexp(loglik, axis=0))

    for k in range(n_steps + 1):
        coef = rows.Q.T @ (rows.weights[:, None] * targets)
        F = rows.Q @ coef
        logits = b + F @ D
        P = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
        posterior = P * T[:, rows.labels].T
        posterior /= posterior.sum(axis=1, keepdims=True)
        if k == n_steps:
            break
        Z = np.column_stack([np.ones(len(F)), F])
        if k in noise_transition.BOUNDED_AT:
            each = 2.0 * P * (1.0 - P)
            if C == 2 or C > noise_transition.MANY_CLASSES:
                each = np.repeat(each.max(axis=1, keepdims=True), C, axis=1)
            H = np.zeros((C, C + 1, C, C + 1))
            for j in range(C):
                H[j, :, j, :] = (Z * (rows.counts * (each[:, j] + 0.005))[:, None]).T @ Z
                H[j, 0, j, 0] += noise_transition.OFFSET_RIDGE
            # the penalty: of D less its mean diagonal
            same = np.zeros((C, C + 1))
            same[np.arange(C), 1 + np.arange(C)] = 1.0 / np.sqrt(C)
            H = H.reshape(C * (C + 1), -1) - model.ridge * np.outer(same, same)
            H += model.ridge * np.diag(np.tile(np.arange(C + 1) > 0, C))
        gradient = (rows.counts[:, None] * (posterior - P)).T @ Z
        gradient[:, 0] -= noise_transition.OFFSET_RIDGE * b
        gradient[:, 1:] -= model.ridge * (D - np.trace(D) / C * np.eye(C)).T
        step = np.linalg.solve(H, gradient.ravel()).reshape(C, C + 1)
        b, D = b + step[:, 0], D + step[:, 1:].T
        if k < noise_transition.TRUSTING_STEPS:
            continue
        targets = posterior
        N = (rows.counts[:, None] * posterior).T @ rows.one_hot
        wrong, size = N[~own].reshape(C, C - 1), N.sum(axis=1)
        total = wrong.sum(axis=1)
        rate = e = total.sum() / size.sum()
        alike = betaln(total + c * e, size - total + c * (1.0 - e)) - betaln(c * e, c * (1.0 - e))
        alike = weigh(alike.sum(axis=1))
        rates = alike @ ((total + c * e) / (size + c))
        freedom = np.sum(alike @ (size / (size + c)))
        split = np.ones((C, 1))
        if C > 2:
            a = c / (C - 1)
            even = gammaln(c) - gammaln(c + total)
            even = weigh(even + (gammaln(wrong + a[:, :, None]) - gammaln(a)[:, :, None]).sum(axis=2))
            split = (even[:, :, None] * (wrong + a[:, :, None]) / (total + c)[:, :, None]).sum(axis=0)
            freedom += (C - 2) * np.sum(even * total / (total + c))
        T = np.diag(1.0 - rates)
        T[~own] = (rates[:, None] * split).ravel()
    return {
        "coef": coef, "offset": b, "tilt": D, "transition": T, "rate": rate, "freedom": freedom, "posterior": posterior,
        "targets": targets,
    }  # fmt: skip


class TestTransitionModel:
    """The likelihood and its pieces, against the formula."""

    @pytest.fixture
    def rows(self):
        X, y, _ = clusters(120, 4, 3, rate=0.2)
        weights = np.random.default_rng(2).uniform(0.5, 2.0, size=120)
        basis = noise_transition.RowBasis(X, weights, True)
        return noise_transition.Rows(basis.Q, y.astype(np.intp), 3, weights.copy(), weights)

    @pytest.fixture
    def model(self):
        rng = np.random.default_rng(0)
        T = rng.dirichlet(np.ones(3), size=3)
        return noise_transition.TransitionModel(None, rng.normal(size=3), rng.normal(size=(3, 3)), 0.7, T)

    def test_pass_is_the_formula(self, rows, model):
        F, T = np.random.default_rng(1).normal(size=(120, 3)), model.transition

        def loglik(values):
            logits = values[:3] + F @ values[3:].reshape(3, 3)
            P = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            return rows.counts @ np.log((P @ T)[np.arange(120), rows.labels])

        posterior, (value, offset, tilt, expected) = model.scan(F, rows.labels, rows.counts)
        point = np.concatenate([model.offset, model.tilt.ravel()])
        assert value == pytest.approx(loglik(point), rel=1e-12)
        gradient = approx_fprime(point, loglik, 1e-6)
        np.testing.assert_allclose(np.concatenate([offset, tilt.ravel()]), gradient, atol=1e-4)
        logits = F @ model.tilt + model.offset
        P = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        joint = P * T[:, rows.labels].T
        np.testing.assert_allclose(posterior, joint / joint.sum(axis=1, keepdims=True), rtol=1e-12)
        counted = (posterior * rows.counts[:, None]).T @ rows.one_hot
        np.testing.assert_allclose(expected, counted, rtol=1e-12)

    @pytest.mark.parametrize("many", [1, 30])
    def test_bound_dominates_the_curvature(self, rows, model, many, monkeypatch):
        # of b and D when the true classes are known: diag(p) - p p' times z z', and that of the penalty
        monkeypatch.setattr(noise_transition, "MANY_CLASSES", many)
        F = np.random.default_rng(1).normal(size=(120, 3))
        probabilities = np.empty(F.shape)
        model.scan(F, rows.labels, rows.counts, probabilities=probabilities)
        Z = np.column_stack([np.ones(120), F])
        curvature = np.zeros((12, 12))
        for z, p, count in zip(Z, probabilities, rows.counts):
            curvature += count * np.kron(np.outer(z, z), np.diag(p) - np.outer(p, p))
        units = np.eye(12).reshape(12, 4, 3)
        bound = model.bound()
        for j, unit in enumerate(units):
            value, gradient = bound.penalty(unit[0], unit[1:])
            curvature[:, j] += gradient.ravel()
            # of degree two
            assert value == pytest.approx(0.5 * np.vdot(gradient, unit))
        assert bound.blocks == (1 if many == 1 else 3)
        blocks = np.empty((bound.blocks, 4, 4))
        model.scan(F, rows.labels, rows.counts, curvature=blocks)
        divided = bound.inverse(blocks)
        inverse = np.array([divided(unit).ravel() for unit in units]).T
        np.testing.assert_allclose(inverse, inverse.T, atol=1e-12)
        ratios = eigh(curvature, np.linalg.inv(0.5 * (inverse + inverse.T)), eigvals_only=True)
        assert 0.2 < ratios[-1] <= 1.0 + 1e-10 and ratios[0] >= -1e-10

    @pytest.mark.parametrize("n_classes", [2, 3, 4])
    @pytest.mark.parametrize("many", [1, 30])
    def test_steps_are_those_described(self, n_classes, many, monkeypatch):
        # more rows than a block has, and unequal weights of both kinds
        monkeypatch.setattr(noise_transition, "MANY_CLASSES", many)
        monkeypatch.setattr(noise_transition, "SETTLED", 0.0)
        X, y, _ = clusters(700, 4, n_classes, rate=0.2, distance=2.0)
        rng = np.random.default_rng(2)
        weights = rng.uniform(0.5, 2.0, size=700)
        basis = noise_transition.RowBasis(X, weights, True)
        rows = noise_transition.Rows(basis.Q, y.astype(np.intp), n_classes, rng.uniform(0.5, 3.0, size=700), weights)
        begun = noise_transition.beginnings(rows)[-1][-1]
        fit = noise_transition.Fitting(rows, rows.packed(), begun)
        fit.proceed(7)
        fit.proceed(11)
        ours, literal = fit.model(), literal_steps(rows, begun, 18)
        for name in ("coef", "offset", "tilt", "transition", "rate", "freedom", "posterior", "targets"):
            np.testing.assert_allclose(getattr(ours, name), literal[name], rtol=1e-9, atol=1e-9, err_msg=name)
        F = rows.without_own(ours.targets, rows.Q @ ours.coef)
        score = ours.scan(F, rows.labels, rows.counts)[1][0] - noise_transition.FREE_ENTRY * ours.freedom
        assert fit.score == pytest.approx(score, rel=1e-10)

    def test_steps_end_once_they_have_settled(self, rows):
        begun = noise_transition.beginnings(rows)[0][0]
        fit = noise_transition.Fitting(rows, rows.packed(), begun)
        fit.steps.proceed(500, 1e-3)
        n_steps = fit.steps.n_steps
        assert noise_transition.TRUSTING_STEPS < n_steps < 100
        before, last = (literal_steps(rows, begun, k)["targets"] for k in (n_steps - 1, n_steps))
        change = 0.5 * rows.counts @ np.abs(last - before).sum(axis=1) / rows.counts.sum()
        assert fit.steps.change == pytest.approx(change, rel=1e-6) and change < 1e-3
        np.testing.assert_allclose(fit.model().targets, last, atol=1e-10)

    def test_curvature_that_is_not_finite(self, model):
        bound = model.bound()
        with pytest.raises(FloatingPointError, match="curvature"):
            bound.inverse(np.full((3, 4, 4), np.nan))

    def test_steps_raise_the_likelihood(self, rows):
        # with B held, b, D and T take the steps of a generalised EM algorithm, but for T's shrinkage
        fit = noise_transition.Fitting(rows, rows.packed(), noise_transition.beginnings(rows)[0][1])
        values = []
        for _ in range(noise_transition.TRUSTING_STEPS):
            model = fit.model()
            value = model.scan(rows.Q @ model.coef, rows.labels, rows.counts)[1][0]
            values.append(value - model.bound().penalty(model.offset, model.tilt)[0])
            fit.proceed(1)
        assert np.all(np.diff(values) > 0.0) and values[-1] - values[-2] < 0.05 * (values[-1] - values[0])

    def test_extreme_logits(self):
        F = np.array([[1e4, -1e4], [-1e4, 1e4]])
        model = noise_transition.TransitionModel(None, np.zeros(2), np.eye(2), 0.0, np.eye(2))
        posterior, told = model.scan(F, np.array([1, 1], dtype=np.intp), np.ones(2))
        # the first label is impossible: it is believed, and the likelihood says what that costs
        np.testing.assert_array_equal(posterior, [[0.0, 1.0], [0.0, 1.0]])
        assert np.isfinite(told[0]) and told[0] < -600

    def test_leave_one_out_fits_are_refits(self, rows):
        targets = np.random.default_rng(0).dirichlet(np.ones(3), size=120)
        rows = noise_transition.Rows(rows.Q, rows.labels, 3, np.ones(120), rows.weights)
        F = rows.Q @ (rows.Q.T @ (rows.weights[:, None] * targets))
        without = rows.without_own(targets, F)
        for i in (0, 7, 60):
            others = np.delete(np.arange(120), i)
            root = np.sqrt(rows.weights[others])[:, None]
            coef = np.linalg.lstsq(root * rows.Q[others], root * targets[others], rcond=None)[0]
            np.testing.assert_allclose(without[i], rows.Q[i] @ coef, atol=1e-10)

    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_own_labels_are_believed(self, n_classes):
        X, y, _ = clusters(90, 4, n_classes, rate=0.2)
        one = np.ones(90)
        rows = noise_transition.Rows(noise_transition.RowBasis(X, one, True).Q, y.astype(np.intp), n_classes, one, one)
        mixture = noise_transition.fit_transitions(rows, np.random.RandomState(0))
        found = mixture.posterior_with_own(rows)
        for i in (0, 7, 60):
            expected = 0.0
            for share, model in zip(mixture.shares, mixture.models, strict=True):
                targets = model.targets.copy()
                targets[i] = rows.one_hot[i]
                f = rows.Q[i] @ np.linalg.lstsq(rows.Q, targets, rcond=None)[0]
                p = np.exp(model.offset + f @ model.tilt) * model.transition[:, y[i]]
                expected = expected + share * p / p.sum()
            np.testing.assert_allclose(found[i], expected, atol=1e-10)

    def test_model_that_believes_all_labels(self, rows, model):
        believing = noise_transition.believing(rows, model)
        root = np.sqrt(rows.weights)[:, None]
        coef = np.linalg.lstsq(root * rows.Q, root * rows.one_hot, rcond=None)[0]
        np.testing.assert_allclose(believing.coef, coef, atol=1e-10)
        np.testing.assert_array_equal(believing.targets, rows.one_hot)
        wrong = believing.transition - np.diag(np.diag(believing.transition))
        np.testing.assert_allclose(wrong.sum(axis=1), noise_transition.BELIEVED_RATE)
        ratio = wrong / np.where(np.eye(3) > 0.0, 1.0, model.transition)
        np.testing.assert_allclose(ratio.max(axis=1), np.sort(ratio, axis=1)[:, 1])
        # b and D are nearly the likeliest
        climber = noise_transition.KnownNoise(rows.Q @ coef, rows.labels, rows.counts, believing.bound())
        best = climber.maximise(believing.offset, believing.tilt, believing.transition, 1e-6, 500)[0]
        posterior, told = believing.scan(rows.Q @ coef, rows.labels, rows.counts)
        np.testing.assert_allclose(believing.posterior, posterior, atol=1e-12)
        assert best - 0.5 < told[0] - believing.bound().penalty(believing.offset, believing.tilt)[0] <= best + 1e-9

    @pytest.fixture
    def profiled(self):
        X, y, _ = clusters(600, 5, 3, rate=0.2, distance=2.0)
        one = np.ones(600)
        rows = noise_transition.Rows(noise_transition.RowBasis(X, one, True).Q, y.astype(np.intp), 3, one, one)
        best = noise_transition.fit_transitions(rows, np.random.RandomState(0)).best
        return best, rows.without_own(best.targets, rows.Q @ best.coef), rows.labels, one

    @pytest.mark.parametrize("rate", [0.0, 0.05, 0.2, 0.6])
    def test_known_noise(self, profiled, rate, monkeypatch):
        monkeypatch.setattr(noise_transition, "GRADIENT", 1e-7)
        best, F, labels, one = profiled
        transition, bound = best.with_rate(rate), best.bound()

        def objective(values):
            offset, tilt = values[:3], values[3:].reshape(3, 3)
            logits = offset + F @ tilt
            P = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
            return bound.penalty(offset, tilt)[0] - np.log((P @ transition)[np.arange(600), labels]).sum()

        start = np.concatenate([best.offset, best.tilt.ravel()])
        # central differences: forward ones end 2e-6 too low
        found = minimize(objective, start, jac="3-point", method="BFGS", options={"gtol": 1e-6})
        profile = noise_transition.RateProfile(best, F, labels, one)
        assert profile.at(rate).value == pytest.approx(-found.fun, abs=1e-6)
        # from elsewhere, with what was learned there
        profile = noise_transition.RateProfile(best, F, labels, one)
        for other in (0.3, 0.1, rate):
            profile.at(other)
        assert profile.at(rate).value == pytest.approx(-found.fun, abs=1e-6)
        if rate > 0.0:
            slope = (profile.at(1.001 * rate).value - profile.at(0.999 * rate).value) / (0.002 * rate)
            assert profile.at(rate).slope == pytest.approx(slope, rel=1e-3, abs=0.1)

    def test_hopeless_rates_are_given_up(self, profiled):
        best, F, labels, one = profiled
        whole, part = (noise_transition.RateProfile(best, F, labels, one) for _ in range(2))
        top = whole.at(best.rate).value
        right = whole.at(0.0).value
        given_up = part.at(0.0, wanted=top).value
        assert given_up <= right < top
        within = noise_transition.RateProfile(best, F, labels, one).at(0.0, wanted=right - 1.0).value
        assert within == pytest.approx(right, abs=0.02)

    @pytest.mark.parametrize("n_rows", [80, 600])
    def test_peak_and_limit_of_the_profile(self, n_rows, profiled):
        best, F, labels, one = (part[:n_rows] if isinstance(part, np.ndarray) else part for part in profiled)
        F = np.ascontiguousarray(F)
        likeliest, lowest_model, upper = noise_transition.rate_limits(best, F, labels, one, 0.95)
        profile = noise_transition.RateProfile(best, F, labels, one)
        grid = np.linspace(0.0, 0.5, 251)
        values = np.array([profile.at(rate).value for rate in grid])
        top = values.max()
        assert profile.at(likeliest.rate).value == pytest.approx(top, abs=0.03)
        # half the 90 % quantile of chi squared with one degree of freedom
        crossing = np.interp(top - 1.353, values[: values.argmax() + 1], grid[: values.argmax() + 1])
        assert 0.975 * crossing - 2e-4 < lowest_model.rate < crossing + 1e-3
        crossing = np.interp(1.353 - top, -values[values.argmax() :], grid[values.argmax() :])
        assert crossing - 1e-3 < upper < 1.025 * crossing + 2e-4

    def test_no_noise_has_no_lower_limit(self):
        X, y, _ = clusters(300, 5, 3, rate=0.0, distance=2.0)
        one = np.ones(300)
        rows = noise_transition.Rows(noise_transition.RowBasis(X, one, True).Q, y.astype(np.intp), 3, one, one)
        best = noise_transition.fit_transitions(rows, np.random.RandomState(0)).best
        F = rows.without_own(best.targets, rows.Q @ best.coef)
        assert noise_transition.rate_limits(best, F, rows.labels, one, 0.95)[1].rate == 0.0

    def test_models_in_threads_are_the_same(self):
        X, y, _ = clusters(300, 5, 3, rate=0.1, distance=2.0)
        alone, together = (quiet(n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 3))
        np.testing.assert_array_equal(alone.label_quality_, together.label_quality_)

    def test_finds_the_transition(self):
        rng = np.random.default_rng(0)
        y = rng.integers(3, size=3000)
        X = 3.0 * np.eye(3)[y] + rng.normal(size=(3000, 3))
        T = np.array([[0.7, 0.3, 0.0], [0.0, 0.9, 0.1], [0.05, 0.05, 0.9]])
        noisy = np.array([rng.choice(3, p=T[c]) for c in y])
        np.testing.assert_allclose(quiet().fit(X, noisy).noise_matrix_, T, atol=0.05)

    @pytest.mark.parametrize("chances", [(0.5, 0.3, 0.2), (0.3, 0.6, 0.1), (0.1, 0.2, 0.7), (0.05, 0.55, 0.4)])
    def test_own_label_is_the_likeliest(self, chances):
        # sum n log p has its largest value there, by a solver that knows nothing of pooling
        counts, pooled = np.array(chances), np.array(chances)
        own_largest(pooled, 0)
        found = minimize(
            lambda p: -counts @ np.log(p),
            np.full(3, 1.0 / 3.0),
            bounds=[(1e-3, 1.0)] * 3,
            constraints=[
                {"type": "eq", "fun": lambda p: p.sum() - 1.0},
                {"type": "ineq", "fun": lambda p: p[0] - p[1:]},
            ],
            options={"ftol": 1e-14},
        )
        np.testing.assert_allclose(pooled, found.x, atol=1e-5)

    @pytest.mark.parametrize("seed", [3, 6])
    def test_classes_do_not_change_places(self, seed):
        # wrong labels that are nearly as many as right ones: where the likeliest model calls a class by the next one's
        # name, what is left says that all labels are right
        rng = np.random.default_rng(seed)
        truth = np.repeat(np.arange(5), (400, 200, 100, 50, 50))
        X = rng.normal(size=(800, 10))
        X[np.arange(800), truth] += 2.0
        is_wrong = rng.random(800) < 0.45
        y = np.where(is_wrong, (truth + 1) % 5, truth)
        detector = quiet().fit(np.column_stack([X, X**2]), y)
        assert detector.noise_rate_ > 0.4
        assert np.all(np.diag(detector.noise_matrix_) >= detector.noise_matrix_.max(axis=1))


class TestCuts:
    def test_lowest(self):
        quality = np.array([0.1, 0.3, 0.3, 0.8])
        right = np.array([0.0, 0.1, 0.2, 0.9])
        mask, threshold = lowest(quality, right, np.ones(4), 0.11)
        np.testing.assert_array_equal(mask, [True, True, True, False])
        assert threshold == 0.3
        # ties stay together: with two of three the mean would have done
        assert lowest(quality, right, np.ones(4), 0.06)[0].tolist() == [True, False, False, False]
        mask, threshold = lowest(quality, 1.0 - right, np.ones(4), 0.11)
        assert not mask.any() and threshold == -np.inf

    def test_selection_is_the_literal_sum(self):
        rng = np.random.default_rng(0)
        n, C, level = 60, 3, 0.2
        scores, labels, counts = rng.random((n, C)).round(2), rng.integers(C, size=n), rng.integers(1, 4, size=n)
        scores[np.arange(n), labels] += 0.2
        noises = [np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.0, 0.2, 0.8]]), np.full((3, 3), 0.1) + 0.7 * np.eye(3)]
        found = []
        for t in np.unique(scores[np.arange(n), labels]):
            worst = -np.inf
            for T in noises:
                truth = np.linalg.inv(T)
                wrong, kept = 1.0, 0.0
                for i in range(n):
                    for d in range(C):
                        if scores[i, d] >= t:
                            own = float(d == labels[i])
                            kept += counts[i] * own
                            # labels at d, but for those that are right
                            wrong += counts[i] * (own - truth[labels[i], d] * T[d, d])
                worst = max(worst, wrong / kept)
            if worst <= level:
                found.append(t)
        t = selection(scores, labels, counts.astype(float), noises, level)
        assert t == min(found) and t > scores[np.arange(n), labels].min()
        assert selection(scores, labels, counts.astype(float), noises, 1e-4) == np.inf
        # labels that say nothing
        assert selection(scores, labels, np.ones(n), [*noises, np.full((3, 3), 1 / 3)], 0.9) == np.inf

    @pytest.mark.parametrize("pairs", [False, True])
    def test_selection_by_a_bad_model_keeps_its_level(self, pairs):
        # the model takes a quarter of the rows for others, and is sure of it
        rng = np.random.default_rng(0)
        C, shares, powers = 4, [], []
        T = 0.6 * np.eye(C) + 0.4 * (np.roll(np.eye(C), 1, axis=1) if pairs else (1.0 - np.eye(C)) / (C - 1))
        for _ in range(200):
            truth = rng.integers(C, size=1000)
            seen = np.where(rng.random(1000) < 0.25, rng.integers(C, size=1000), truth)
            labels = (rng.random(1000)[:, None] > np.cumsum(T, axis=1)[truth]).sum(axis=1)
            scores = 0.1 * rng.random((1000, C))
            scores[np.arange(1000), seen] = np.where(seen == truth, rng.beta(5, 1, 1000), rng.beta(3, 1, 1000))
            kept = scores[np.arange(1000), labels] >= selection(scores, labels, np.ones(1000), [T], 0.1)
            shares.append((kept & (labels != truth)).sum() / kept.sum())
            powers.append((kept & (labels == truth)).sum() / (labels == truth).sum())
        assert 0.07 < np.mean(shares) <= 0.1 + 2.0 * np.std(shares) / np.sqrt(200)
        assert np.mean(powers) > 0.7

    def test_knockoff_threshold(self):
        W = np.array([5.0, 4.0, 3.0, 2.5, -2.0, 1.0, 0.0])
        for level, expected in [(0.26, 2.5), (0.41, 1.0), (0.2, np.inf), (0.35, 2.5)]:
            t = knockoff_threshold(W, np.ones(7), level, 2)
            positive = np.abs(W[W != 0.0])
            candidates = [s for s in positive if (1 + np.sum(-s >= W)) / max(1, np.sum(s <= W)) <= level]
            assert t == min(candidates, default=np.inf) == expected
            assert knockoff_threshold(W, np.ones(7), 0.6 * level, 5) == t

    def test_antisymmetric_statistics_keep_a_share_of_level(self):
        # wrong rows have symmetric statistics, right rows positive ones
        rng = np.random.default_rng(0)
        shares = []
        for _ in range(300):
            wrong = rng.random(400) < 0.3
            W = np.where(wrong, rng.normal(size=400), rng.normal(2.5, 1.0, size=400))
            kept = knockoff_threshold(W, np.ones(400), 0.1, 2) <= W
            shares.append((kept & wrong).sum() / max(kept.sum(), 1))
        assert 0.05 < np.mean(shares) <= 0.1 + 2 * np.std(shares) / np.sqrt(300)


def proportions(n_runs, rate, level, cut="fdr", kind="symmetric", n_classes=5, distance=1.7):
    found = []
    for seed in range(n_runs):
        rng = np.random.default_rng(seed)
        y = rng.integers(n_classes, size=600)
        X = distance * rng.normal(size=(n_classes, 6))[y] + rng.normal(size=(600, 6))
        noisy, is_wrong = make_label_noise(y, kind=kind, rate=rate, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            mask = NoisyLabelDetector(cut=cut, level=level, random_state=seed).fit(X, noisy).label_issues_mask_
        chosen, bad = (mask, ~is_wrong) if cut == "fdr" else (~mask, is_wrong)
        power = (chosen & ~bad).sum() / max((~bad).sum(), 1)
        found.append(((chosen & bad).sum() / max(chosen.sum(), 1), power, mask.any()))
    return np.array(found, dtype=float).T


@pytest.mark.newest
class TestQuality:
    def test_posteriors_are_dealt_out_by_credibility(self):
        quality = _label_fit.Quality(np.array([0.5, 0.9, 0.1, 0.7]), np.array([0.3, 0.8, 0.6, 0.0]), np.ones(4))
        np.testing.assert_allclose(quality([0.5, 0.9, 0.1, 0.7]), [0.3, 0.8, 0.0, 0.6])
        np.testing.assert_allclose(quality([0.0, 0.3, 0.6, 1.0]), [0.0, 0.15, 0.45, 0.8])

    def test_weights_and_ties(self):
        rng = np.random.default_rng(0)
        credibility, posterior, counts = rng.uniform(size=60), rng.uniform(size=60), rng.integers(1, 4, size=60)
        credibility[10:20] = credibility[10]
        found = _label_fit.Quality(credibility, posterior, counts.astype(float))(credibility)
        assert counts @ found == pytest.approx(counts @ posterior)
        assert np.ptp(found[10:20]) == 0.0
        assert np.all(np.diff(found[np.argsort(credibility)]) >= 0.0)
        # copies that differ by rounding are ties
        copies = np.repeat(credibility, counts) * (1.0 + 1e-15 * rng.integers(-1, 2, size=counts.sum()))
        repeated = _label_fit.Quality(copies, np.repeat(posterior, counts), np.ones(counts.sum()))
        np.testing.assert_allclose(repeated(copies), np.repeat(found, counts), atol=1e-12)

    @pytest.mark.parametrize("class_balanced", [False, True])
    def test_other_rows_are_judged_as_if_they_were_fitted(self, class_balanced):
        X, y, _ = clusters(120, 4, 3, rate=0.2)
        fit = _label_fit.LabelFit(X[:-1], y[:-1].astype(np.intp), 3, np.ones(119), class_balanced, 0)
        weights = fit.rows.weights
        own = np.append(weights, 119.0 / (3 * np.bincount(y[:-1])[y[-1]]) if class_balanced else 1.0)
        Q = fit.coordinates(X)
        root = np.sqrt(own)[:, None]

        def posterior(model, targets):
            targets = np.vstack([targets, np.eye(3)[y[-1]]])
            f = Q[-1] @ np.linalg.lstsq(root * Q, root * targets, rcond=None)[0]
            p = np.exp(model.offset + f @ model.tilt) * model.transition[:, y[-1]]
            return p[y[-1]] / p.sum()

        believing = noise_transition.believing(fit.rows, fit.mixture.best)
        settled = sum(s * posterior(m, m.targets) for s, m in zip(fit.mixture.shares, fit.mixture.models, strict=True))
        expected = (settled + 2.0 * posterior(believing, fit.rows.one_hot)) / 3.0
        found = fit.credibility_of(X[-1:], y[-1:].astype(np.intp))
        np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.newest
class TestErrorRates:
    """Small versions of the simulations in the benchmarks."""

    @pytest.mark.parametrize("rate", [0.1, 0.3])
    def test_false_discoveries(self, rate):
        share, power, _ = proportions(16, rate, 0.1)
        assert share.mean() <= 0.1 + 2.0 * share.std() / 4.0
        assert power.mean() > 0.5

    def test_clean_labels_are_left_alone(self):
        _, _, flagged = proportions(25, 0.0, 0.1, n_classes=2)
        # five per cent of runs, at most, by design
        assert flagged.mean() <= 0.1

    @pytest.mark.parametrize("kind", ["symmetric", "pair"])
    @pytest.mark.parametrize(("rate", "level"), [(0.1, 0.05), (0.3, 0.1), (0.4, 0.05)])
    def test_false_selections(self, rate, level, kind):
        share, power, _ = proportions(16, rate, level, "fsr", kind)
        assert 0.2 * level < share.mean() <= level + 2.0 * share.std() / 4.0
        assert power.mean() > 0.85

    def test_false_selections_of_knockoffs(self):
        share, power, _ = proportions(12, 0.3, 0.1, "knockoff")
        assert share.mean() <= 0.1 + 2.0 * share.std() / np.sqrt(12)
        assert power.mean() > 0.7

    def test_few_wrong_labels_need_no_selection(self):
        _, power, flagged = proportions(6, 0.05, 0.15, "fsr")
        assert not flagged.any() and np.all(power == 1.0)


class TestDetector:
    @pytest.fixture(scope="class")
    @staticmethod
    def digits():
        X, y = load_digits(return_X_y=True)
        noisy, is_wrong = make_label_noise(y, kind="pair", rate=0.2, random_state=0)
        return X, noisy, is_wrong, y

    def test_even_noise_and_two_classes_confused(self):
        X, y = load_digits(return_X_y=True)
        noisy, is_wrong = make_label_noise(y, rate=0.04, random_state=0)
        some = np.flatnonzero(np.isin(y, [4, 9]) & ~is_wrong)
        swapped = np.random.default_rng(100).choice(some, 72, replace=False)
        noisy[swapped] = np.where(y[swapped] == 4, 9, 4)
        is_wrong = noisy != y
        detector = quiet().fit(X, noisy)
        assert average_precision_score(is_wrong, 1.0 - detector.label_quality_) > 0.97
        assert detector.noise_matrix_[4, 9] > 0.1 and detector.noise_rate_ == pytest.approx(0.08, abs=0.015)

    def test_finds_more_than_the_path_where_wrong_labels_hide_each_other(self, digits):
        X, noisy, is_wrong, y = digits
        detector = NoisyLabelDetector().fit(X, noisy)
        assert average_precision_score(is_wrong, 1.0 - detector.label_quality_) > 0.98
        assert average_precision_score(is_wrong, detector.entry_alpha_) < 0.95
        flagged = detector.label_issues_mask_
        # nothing is promised where classes are mistaken for one other
        assert (flagged & ~is_wrong).sum() <= 0.15 * flagged.sum()
        assert (flagged & is_wrong).sum() > 0.8 * is_wrong.sum()
        assert np.mean(detector.suggested_labels_[flagged & is_wrong] == y[flagged & is_wrong]) > 0.95
        assert detector.noise_rate_lower_ < 0.2 < detector.noise_rate_ + 0.03
        assert detector.valid_cut_ and detector.fdr_estimate_ <= 0.1
        assert detector.n_flagged_per_class_.sum() == flagged.sum()
        np.testing.assert_array_equal(flagged, detector.label_quality_ <= detector.threshold_)

    def test_l1_ranks_by_the_path(self, digits):
        X, noisy, _, _ = digits
        detector = quiet(penalty="l1").fit(X, noisy)
        path = label_noise_path(X, noisy)
        np.testing.assert_allclose(detector.entry_alpha_, path.entry_alphas, rtol=5e-3, atol=3e-3)
        np.testing.assert_allclose(detector.label_quality_, 1.0 / (1.0 + detector.entry_alpha_))

    def test_entries_are_the_same_whenever_they_are_asked_for(self):
        X, y = load_wine(return_X_y=True)
        noisy, _ = make_label_noise(y, rate=0.1, random_state=0)
        eager, late = quiet(penalty="l1").fit(X, noisy), quiet().fit(X, noisy)
        elsewhere = pickle.loads(pickle.dumps(late))
        weighted = quiet().fit(X, noisy, sample_weight=np.where(np.arange(len(y)) < 5, 0.0, 1.0))
        rest = quiet().fit(X[5:], noisy[5:])
        np.testing.assert_array_equal(late.entry_alpha_, eager.entry_alpha_)
        np.testing.assert_array_equal(elsewhere.entry_alpha_, late.entry_alpha_)
        np.testing.assert_allclose(weighted.entry_alpha_[5:], rest.entry_alpha_, rtol=1e-10)
        with pytest.raises(NotFittedError):
            quiet().entry_alpha_  # noqa: B018

    def test_attributes(self, digits):
        X, noisy, _, _ = digits
        for options in (
            {"cut": "fsr", "level": 0.05},
            {"cut": "knockoff", "level": 0.2},
            {"cut": "fraction", "level": 0.25},
            {"cut": "threshold"},
            {"out_of_fold": True},
            {"penalty": "l1", "class_balanced": True},
        ):
            detector = NoisyLabelDetector(random_state=0, **options).fit(X[::4], noisy[::4])
            n = len(X[::4])
            for name in ("label_quality_", "label_issues_mask_", "entry_alpha_", "suggested_labels_"):
                assert getattr(detector, name).shape == (n,)
            assert np.all((detector.label_quality_ >= 0.0) & (detector.label_quality_ <= 1.0))
            assert detector.label_issues_mask_.dtype == bool and detector.valid_cut_
            assert detector.noise_matrix_.shape == (10, 10)
            assert detector.noise_rate_lower_ < detector.noise_rate_ < detector.noise_rate_upper_
            np.testing.assert_allclose(detector.noise_matrix_.sum(axis=1), 1.0)
            if detector.cut == "fraction":
                assert detector.label_issues_mask_.sum() == int(0.25 * n)

    def test_any_labels(self):
        data = load_wine()
        noisy, is_wrong = make_label_noise(data.target, rate=0.1, random_state=0)
        base = NoisyLabelDetector().fit(data.data, noisy)
        for classes in (np.array(["red", "rosé", "white"]), np.array([-1.0, 0.0, 7.0])):
            detector = NoisyLabelDetector().fit(data.data, classes[noisy])
            np.testing.assert_allclose(detector.label_quality_, base.label_quality_)
            assert set(detector.suggested_labels_) <= set(classes)
        two = noisy < 2
        boolean = NoisyLabelDetector().fit(data.data[two], noisy[two] == 1)
        assert boolean.classes_.tolist() == [False, True]
        assert average_precision_score(is_wrong, -base.label_quality_) > 0.95

    def test_equivariance(self):
        X, y, _ = clusters(200, 4, 3, distance=2.0)
        base = quiet().fit(X, y).label_quality_
        order = np.random.default_rng(0).permutation(200)
        np.testing.assert_allclose(quiet().fit(X[order], y[order]).label_quality_, base[order], atol=1e-9)
        for other in (1e6 + 1e-3 * X, X * [1e8, 1.0, 1e-8, -1.0], np.column_stack([X, np.ones(200), X[:, 0]])):
            np.testing.assert_allclose(quiet().fit(other, y).label_quality_, base, atol=1e-7)
        np.testing.assert_allclose(quiet().fit(X.astype(np.float32), y).label_quality_, base, atol=1e-3)
        np.testing.assert_allclose(quiet().fit(sparse.csr_array(X), y).label_quality_, base, atol=1e-9)
        np.testing.assert_allclose(quiet().fit(X, 2 - y).label_quality_, base, atol=1e-9)

    def test_weights(self):
        X, y, _ = clusters(150, 4, 3, distance=2.0)
        weights = np.random.default_rng(0).integers(0, 3, size=150)
        weighted = quiet().fit(X, y, sample_weight=weights)
        repeated = quiet().fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
        np.testing.assert_allclose(np.repeat(weighted.label_quality_, weights), repeated.label_quality_, atol=1e-9)
        assert weighted.noise_rate_ == pytest.approx(repeated.noise_rate_, abs=1e-6)
        absent = weights == 0
        expected = weighted.score_labels(X[absent], y[absent])
        np.testing.assert_allclose(weighted.label_quality_[absent], expected)

    def test_new_rows(self, digits):
        X, noisy, is_wrong, _ = digits
        train, test = np.arange(1200), np.arange(1200, len(X))
        for options in ({}, {"penalty": "l1"}, {"out_of_fold": True, "n_jobs": 2}):
            detector = quiet(**options).fit(X[train], noisy[train])
            quality = detector.score_labels(X[test], noisy[test])
            least = 0.75 if "penalty" in options else 0.95
            assert average_precision_score(is_wrong[test], -quality) > least
        with pytest.raises(ValueError, match="among the classes seen in fit"):
            detector.score_labels(X[:2], [3, 11])
        with pytest.raises(NotFittedError):
            NoisyLabelDetector().score_labels(X, noisy)

    def test_jobs_and_seeds(self, digits):
        X, noisy, _, _ = digits
        X, noisy = X[::6], noisy[::6]
        for options in (
            {"cut": "fsr"},
            {"cut": "knockoff", "level": 0.2},
            {"out_of_fold": True},
            {"out_of_fold": True, "cut": "fsr"},
        ):
            one = NoisyLabelDetector(random_state=3, **options).fit(X, noisy)
            two = NoisyLabelDetector(random_state=3, n_jobs=2, **options).fit(X, noisy)
            np.testing.assert_array_equal(one.label_issues_mask_, two.label_issues_mask_)
            np.testing.assert_allclose(one.label_quality_, two.label_quality_, atol=1e-10)

    def test_representations(self):
        X, y, is_wrong = rings()
        linear = quiet().fit(X, y)
        for representation in (
            Nystroem(gamma=0.5, n_components=60, random_state=0),
            RandomTreesEmbedding(n_estimators=30, max_depth=4, random_state=0),
        ):
            detector = quiet(representation=representation).fit(X, y)
            score = average_precision_score(is_wrong, -detector.label_quality_)
            assert score > 0.9 > average_precision_score(is_wrong, -linear.label_quality_)
            assert not hasattr(representation, "components_")
            assert len(detector.score_labels(X[:5], y[:5])) == 5
        X, y, _ = clusters(200, 4, 3, distance=2.0)
        rotated = quiet(representation=PCA(4)).fit(X, y)
        np.testing.assert_allclose(rotated.label_quality_, quiet().fit(X, y).label_quality_, atol=1e-7)

    def test_out_of_fold_does_not_believe_a_representation_that_saw_the_labels(self):
        rng = np.random.default_rng(0)
        # labels have nothing to do with the features, but those that agree by chance are selected
        X, y = rng.normal(size=(240, 2000)), rng.integers(2, size=240)
        seen, unseen = (quiet(representation=SelectKBest(k=12), out_of_fold=out).fit(X, y) for out in (False, True))
        # the residual of a code that nothing predicts is 0.71 long
        assert seen.entry_alpha_.mean() < 0.66 < 0.71 < unseen.entry_alpha_.mean()
        assert len(unseen.representation_) == 5

    def test_representations_take_what_they_take(self):
        texts = ["cats purr softly", "cats purr and sleep", "dogs bark loudly", "dogs bark at night"] * 15
        y = np.array(["cat", "cat", "dog", "dog"] * 15)
        y[0] = "dog"
        words = NoisyLabelDetector(CountVectorizer(), standardize=False, cut="fraction", level=1 / 60).fit(texts, y)
        assert np.flatnonzero(words.label_issues_mask_).tolist() == [0]
        X, y, _ = clusters(distance=3.0)
        X[::7, 0] = np.nan
        with pytest.raises(ValueError, match="NaN"):
            quiet().fit(X, y)
        detector = quiet(representation=SimpleImputer()).fit(X, y)
        assert np.isfinite(detector.label_quality_).all()

    def test_more_features_than_rows(self):
        rng = np.random.default_rng(0)
        y = rng.integers(2, size=90)
        X = rng.normal(size=(90, 300))
        X[:, :5] += 3.0 * (2 * y - 1)[:, None]
        noisy, is_wrong = make_label_noise(y, rate=0.1, random_state=0)
        for features in (X, sparse.csr_array(np.where(np.abs(X) > 1.0, X, 0.0))):
            detector = quiet().fit(features, noisy)
            assert average_precision_score(is_wrong, -detector.label_quality_) > 0.6

    def test_nothing_to_flag(self):
        X, y = load_iris(return_X_y=True)
        with pytest.warns(UserWarning, match="No label is flagged"):
            detector = NoisyLabelDetector().fit(X, y)
        assert not detector.valid_cut_ and not detector.label_issues_mask_.any()
        assert detector.threshold_ == -np.inf and detector.fdr_estimate_ == 0.0
        with pytest.warns(UserWarning, match="could be kept"):
            detector = NoisyLabelDetector(cut="knockoff", level=0.001, random_state=0).fit(X, y)
        assert not detector.valid_cut_ and not detector.label_issues_mask_.any()
        with pytest.warns(UserWarning, match="whatever the noise rate between"):
            detector = NoisyLabelDetector(cut="fsr", level=0.001, random_state=0).fit(X, y)
        assert not detector.valid_cut_ and not detector.label_issues_mask_.any()

    def test_separated_classes_and_constant_features(self):
        X = np.repeat(np.eye(3), 20, axis=0)
        y = np.repeat(np.arange(3), 20)
        y[0] = 2
        # one of twenty may be wrong, or rows like it have this label now and then: only the order is told
        detector = NoisyLabelDetector(cut="fraction", level=1 / 60).fit(X, y)
        assert detector.label_issues_mask_.tolist() == [True] + [False] * 59
        useless = quiet().fit(np.ones((60, 2)), y)
        assert np.isfinite(useless.label_quality_).all()

    def test_fit_resample(self):
        pandas = pytest.importorskip("pandas")
        X, y, _ = clusters(distance=3.0)
        frame, series = pandas.DataFrame(X).add_prefix("x"), pandas.Series(y, name="label")
        detector = quiet()
        X_kept, y_kept = detector.fit_resample(frame, series)
        kept = ~detector.label_issues_mask_
        pandas.testing.assert_frame_equal(X_kept, frame[kept])
        pandas.testing.assert_series_equal(y_kept, series[kept])
        assert detector.feature_names_in_.tolist() == list(frame.columns)
        for features, labels in ((X.tolist(), y.tolist()), (sparse.csr_array(X), y)):
            X_kept, y_kept = detector.fit_resample(features, labels)
            assert X_kept.shape[0] == len(y_kept) == kept.sum()

    def test_pickle_clone_and_arrays_left_alone(self):
        X, y, _ = clusters(distance=2.0)
        X.flags.writeable = False
        detector = quiet().fit(X, y)
        again = pickle.loads(pickle.dumps(detector))
        np.testing.assert_array_equal(again.score_labels(X, y), detector.score_labels(X, y))
        np.testing.assert_array_equal(clone(detector).fit(X, y).label_quality_, detector.label_quality_)

    def test_many_rows_choose_by_some(self, monkeypatch):
        X, y, is_wrong = clusters(3000, 5, 4, distance=1.5)
        whole = quiet().fit(X, y)
        monkeypatch.setattr("skspar._engine.noise_transition.LARGE", 1000)
        monkeypatch.setattr("skspar._label_fit.LARGE", 1000)
        some = quiet().fit(X, y)
        assert np.corrcoef(whole.label_quality_, some.label_quality_)[0, 1] > 0.995
        ours, theirs = (average_precision_score(is_wrong, -d.label_quality_) for d in (some, whole))
        assert ours > theirs - 0.01

    @pytest.mark.parametrize(
        ("options", "change", "match"),
        [
            ({"level": 0.0}, {}, "level"),
            ({"level": 1.0}, {}, "level"),
            ({"level": 2}, {}, "level"),
            ({"cut": "best"}, {}, "cut"),
            ({"penalty": "l2"}, {}, "penalty"),
            ({"representation": "pca"}, {}, "representation"),
            ({}, {"y": np.zeros(80, dtype=int)}, "at least two classes"),
            ({}, {"y": np.r_[np.zeros(79, dtype=int), 1]}, "class .*1.* has 1"),
            ({}, {"y": np.linspace(0.0, 1.0, 80)}, "Unknown label type"),
            ({}, {"y": None}, "requires y"),
            ({}, {"sample_weight": -np.ones(80)}, "sample_weight"),
            ({}, {"sample_weight": np.zeros(80)}, "(?i)sample.weight"),
        ],
    )
    def test_bad_input(self, options, change, match):
        X, y, _ = clusters()
        with pytest.raises(ValueError, match=match):
            NoisyLabelDetector(**options).fit(**{"X": X, "y": y, **change})

    def test_representation_with_wrong_rows(self):
        X, y, _ = clusters()
        for fault in ("rows", "dimensions"):
            with pytest.raises(ValueError, match="representation must map 80 rows"):
                NoisyLabelDetector(Faulty(fault)).fit(X, y)


def rings(n=400, seed=0):
    """Two classes that no line separates."""
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n)
    angle = rng.uniform(0, 2 * np.pi, size=n)
    X = (1.0 + 2.0 * y)[:, None] * np.column_stack([np.cos(angle), np.sin(angle)]) + 0.2 * rng.normal(size=(n, 2))
    noisy, is_wrong = make_label_noise(y, rate=0.1, random_state=seed)
    return X, noisy, is_wrong


class Faulty(TransformerMixin, BaseEstimator):
    """Loses a row, or a dimension."""

    def __init__(self, fault="rows"):
        self.fault = fault

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X[1:] if self.fault == "rows" else X[:, 0]


class TestHostilePath:
    def test_entries_above_the_grid(self):
        X, y, _ = clusters()
        whole = label_noise_path(X, y, eps=1e-3, alphas=60)
        for alphas in ([0.5], [0.3, 0.01], [1e-6]):
            some = label_noise_path(X, y, alphas=alphas)
            early = whole.entry_alphas > max(alphas[-1], whole.alphas[-1])
            np.testing.assert_allclose(some.entry_alphas[early], whole.entry_alphas[early], rtol=5e-4)
        assert early.sum() > 70

    def test_constant_responses(self):
        X, _, _ = clusters()
        path = label_noise_path(X, np.tile([0.1, 1e8 / 3], (80, 1)), alphas=4)
        assert not path.entry_alphas.any() and path.gamma_norms.nnz == 0
        np.testing.assert_allclose(path.intercepts, np.tile([[0.1], [1e8 / 3]], 4), rtol=1e-15)

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("unit", [1e-250, 1e-150, 1e150, 1e250])
    def test_units_of_responses(self, unit):
        X, y, _ = clusters()
        Y = np.eye(3)[y] + 0.1 * X[:, :3]
        plain, scaled = label_noise_path(X, Y, alphas=6), label_noise_path(X, unit * Y, alphas=6)
        for name in ("alphas", "entry_alphas", "coefs", "intercepts"):
            np.testing.assert_allclose(scaled[name] / unit, plain[name], rtol=1e-6, atol=1e-9)
        assert scaled.gamma_norms.nnz == plain.gamma_norms.nnz

    def test_weights_that_leave_one_class(self):
        X, y, _ = clusters()
        with pytest.raises(ValueError, match=r"two classes.*positive sample_weight"):
            label_noise_path(X, y, sample_weight=(y == 0).astype(float))


class TestHostileDetector:
    @pytest.mark.parametrize("kind", ["pandas", "polars"])
    def test_output_that_is_set_globally(self, kind):
        pytest.importorskip(kind)
        X, y, _ = clusters(100, 60, 3)
        for data in (X, sparse.csr_matrix(X)):
            plain = quiet().fit(data, y).label_quality_
            with config_context(transform_output=kind):
                np.testing.assert_array_equal(quiet().fit(data, y).label_quality_, plain)
                make_label_noise(y, "instance", rate=0.1, X=data, random_state=0)

    def test_numbers_as_objects(self):
        X, y, _ = clusters(60, 3, 3)
        detector = quiet().fit(X, y.astype(object))
        np.testing.assert_array_equal(detector.label_quality_, quiet().fit(X, y).label_quality_)
        assert detector.classes_.dtype.kind == "i"

    def test_na_is_missing(self):
        pandas = pytest.importorskip("pandas")
        X, y, _ = clusters(60, 3, 3)
        labels = pandas.Series(y.astype(str), dtype="string").where(np.arange(60) > 0)
        for fit in (quiet().fit, label_noise_path):
            with pytest.raises(ValueError, match="y must have no missing labels; 1 of 60"):
                fit(X, labels)

    def test_rows_without_weight_do_not_draw(self):
        X, y, _ = clusters(200, 4, 3, rate=0.2)
        weights = np.ones(200)
        weights[::4] = 0.0
        some = weights > 0.0
        for cut, out_of_fold in itertools.product(("fsr", "knockoff"), (False, True)):
            detector = NoisyLabelDetector(
                cut=cut, level=0.15 if cut == "fsr" else 0.2, out_of_fold=out_of_fold, random_state=0
            )
            whole = clone(detector).fit(X, y, weights)
            part = clone(detector).fit(X[some], y[some])
            assert 0 < part.label_issues_mask_.sum() < some.sum()
            np.testing.assert_array_equal(whole.label_issues_mask_[some], part.label_issues_mask_)

    def test_weights_that_count_nothing(self):
        X, y, _ = clusters(60, 3, 3)
        with pytest.raises(ValueError, match="sample_weight must count rows and have a sum between"):
            quiet().fit(X, y, np.full(60, 1e-20))

    def test_labels_that_cannot_be_sorted(self):
        X, y, _ = clusters()
        for last, told in ((2.5, "labels that can be sorted"), (None, "no missing labels")):
            mixed = np.array(["a", 1, last], dtype=object)[y]
            for call in (quiet().fit, label_noise_path):
                with pytest.raises(ValueError, match=told):
                    call(X, mixed)

    def test_one_new_row(self):
        X, y, _ = clusters()
        for options in ({}, {"penalty": "l1"}, {"out_of_fold": True}):
            detector = quiet(**options).fit(X, y)
            np.testing.assert_allclose(detector.score_labels(X[:1], y[:1]), detector.score_labels(X, y)[:1], rtol=1e-12)

    def test_new_rows_of_another_container(self):
        X, y, _ = clusters()
        for features, others in ((X, sparse.csr_array(X)), (sparse.csr_array(X), X)):
            detector = quiet().fit(features, y)
            np.testing.assert_allclose(
                detector.score_labels(others, y), detector.score_labels(features, y), rtol=1e-10, atol=1e-12
            )

    @pytest.mark.parametrize("package", ["pandas", "polars"])
    def test_representation_that_knows_columns_by_name(self, package):
        frames = pytest.importorskip(package)
        X, y, _ = clusters(p=3)
        frame = frames.DataFrame({f"x{j}": X[:, j] for j in range(3)})
        by_name = ColumnTransformer([("some", "passthrough", ["x0", "x1"])])
        detector = quiet(representation=by_name).fit(frame, y)
        np.testing.assert_allclose(detector.entry_alpha_, quiet().fit(X[:, :2], y).entry_alpha_, rtol=1e-8)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert detector.score_labels(frame[:2], y[:2]).shape == (2,)

    def test_text_that_cannot_be_scaled(self):
        pandas = pytest.importorskip("pandas")
        X, y, _ = clusters()
        frame = pandas.DataFrame(X).add_prefix("x").assign(kind=np.array(["u", "v", "w"])[y])
        for features in (frame, ["some text"] * 80):
            with pytest.raises(ValueError, match="standardize=False"):
                quiet(representation=PCA()).fit(features, y)

    def test_representation_that_returns_lists_or_nan(self):
        X, y, _ = clusters()
        for times in (1, 20):
            listed = quiet(
                representation=FunctionTransformer(lambda Z, times=times: np.tile(Z, (1, times)).tolist())
            ).fit(X, y)
            assert np.isfinite(listed.score_labels(X, y)).all()
            for make in (np.asarray, sparse.csr_array):
                broken = FunctionTransformer(
                    lambda Z, make=make, times=times: make(np.tile(np.where(Z > 2.0, np.nan, Z), (1, times)))
                )
                with pytest.raises(ValueError, match=r"representation.* contains NaN"):
                    quiet(representation=broken).fit(X, y)

    @pytest.mark.parametrize("unit", [1e160, 1e300, 1e-160, 1e-300])
    def test_units_beyond_squaring(self, unit):
        X, y, _ = clusters()
        X = X * np.array([1.0, unit, *np.ones(X.shape[1] - 2)])
        for fit in (quiet().fit, quiet(penalty="l1").fit, label_noise_path):
            with pytest.raises(ValueError, match=r"X must have columns that vary by 1e-140 .*; column 1 has"):
                fit(X, y)
        # large numbers that are all alike are no trouble
        X[:, 1] = unit
        assert np.isfinite(quiet().fit(X, y).label_quality_).all()

    def test_weights_beyond_counting(self):
        X, y, _ = clusters()
        with pytest.raises(ValueError, match=r"sample_weight.*count"):
            quiet().fit(X, y, np.full(80, 1e150))

    def test_a_half_without_a_cut_is_told(self):
        X, y = load_iris(return_X_y=True)
        y, _ = make_label_noise(y, rate=0.1, random_state=0)
        told = 0
        for seed in range(12):
            rows = np.random.RandomState(seed).choice(150, 60, replace=False)
            detector = NoisyLabelDetector(cut="knockoff", random_state=seed)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                detector.fit(X[rows], y[rows])
            if detector.valid_cut_ and detector.label_issues_mask_.sum() >= 27:
                told += 1
                assert any("no row could be kept in one of the halves" in str(one.message) for one in caught)
        assert told > 0
