"""Orthogonal matching pursuit against scikit-learn, brute force, its theory, and itself in other units."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, orthogonal_mp
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skspar import OrthogonalMatchingPursuit, OrthogonalMatchingPursuitCV, SparseEncoder, omp_path

ESTIMATORS = [
    OrthogonalMatchingPursuit(),
    OrthogonalMatchingPursuit(n_nonzero_coefs=1, criterion="ols", fit_intercept=False),
    OrthogonalMatchingPursuit(rtol=0.1, precompute=True, n_jobs=2),
    OrthogonalMatchingPursuitCV(),
    OrthogonalMatchingPursuitCV(max_nonzero_coefs=1, criterion="ols", selection_rule="1se", cv=3),
    SparseEncoder(random_state=0),
    SparseEncoder(n_components=2, method="bpdn", alpha=0.05, random_state=0),
    SparseEncoder(n_components=2, method="threshold", alpha=0.05, random_state=0),
    SparseEncoder(rtol=0.01, criterion="ols", n_jobs=2, random_state=0),
]


@parametrize_with_checks(ESTIMATORS)
def test_estimator_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=RuntimeWarning, message=".*depend linearly")
        check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
@pytest.mark.parametrize(
    "check",
    [estimator_checks.check_dataframe_column_names_consistency, estimator_checks.check_param_validation],
    ids=lambda check: check.__name__,
)
def test_checks_that_check_estimator_leaves_out(estimator, check):
    check(type(estimator).__name__, clone(estimator))


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_transformer_get_feature_names_out,
        estimator_checks.check_transformer_get_feature_names_out_pandas,
        estimator_checks.check_set_output_transform,
        estimator_checks.check_set_output_transform_pandas,
        estimator_checks.check_global_output_transform_pandas,
        estimator_checks.check_set_output_transform_polars,
        estimator_checks.check_global_set_output_transform_polars,
    ],
    ids=lambda check: check.__name__,
)
def test_encoder_output_checks(check):
    check("SparseEncoder", SparseEncoder(random_state=0))


def problem(seed, n=30, p=60, n_targets=1):
    """A well-conditioned design with columns of unit norm, and targets of unit scale that are nearly sparse."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    X /= np.linalg.norm(X, axis=0)
    B = np.zeros((p, n_targets))
    for t in range(n_targets):
        B[rng.choice(p, 5, replace=False), t] = rng.normal(size=5) + np.sign(rng.normal(size=5))
    Y = X @ B + 0.05 * rng.normal(size=(n, n_targets))
    return X, Y[:, 0] if n_targets == 1 else Y


def coefs_of(X, Y, **params):
    return OrthogonalMatchingPursuit(fit_intercept=False, **params).fit(X, Y).coef_.T


@pytest.mark.parametrize("seed", range(125))
def test_equals_scikit_learn(seed):
    """Four problems a seed: a number of atoms and a tolerance, by the columns and by the Gram matrix."""
    rng = np.random.default_rng(1000 + seed)
    X, Y = problem(seed, n=int(rng.integers(20, 60)), p=int(rng.integers(20, 90)), n_targets=(1, 1, 4)[seed % 3])
    k = int(rng.integers(1, 10))
    tol = float(rng.uniform(0.02, 0.9)) * float((Y**2).sum(axis=0).min())
    for precompute in (False, True):
        for stopping in ({"n_nonzero_coefs": k}, {"tol": tol}):
            ours = coefs_of(X, Y, precompute=precompute, **stopping)
            theirs = orthogonal_mp(X, Y, **stopping)
            assert_array_equal(ours != 0.0, theirs != 0.0)
            assert_allclose(ours, theirs, rtol=0, atol=1e-10)


def brute_force(X, y, k, ols):
    """Greedy selection by refitting every candidate."""
    chosen, residual = [], y
    for _ in range(k):
        if ols:
            left = [
                np.inf if j in chosen else np.sum((y - X[:, (J := [*chosen, j])] @ np.linalg.lstsq(X[:, J], y)[0]) ** 2)
                for j in range(X.shape[1])
            ]
            chosen.append(int(np.argmin(left)))
        else:
            scores = np.abs(X.T @ residual) / np.linalg.norm(X, axis=0)
            scores[chosen] = -1.0
            chosen.append(int(np.argmax(scores)))
        b = np.linalg.lstsq(X[:, chosen], y, rcond=None)[0]
        residual = y - X[:, chosen] @ b
    return chosen, b, residual


@pytest.mark.parametrize("ols", [False, True])
@pytest.mark.parametrize("precompute", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_equals_brute_force_in_any_units(ols, precompute, seed):
    """scikit-learn selects differently where columns are not of unit norm; refitting every candidate does not."""
    rng = np.random.default_rng(seed)
    X, y = problem(seed, n=25, p=40)
    X = X * 10.0 ** rng.uniform(-6, 6, size=40)
    y = y * 10.0 ** rng.uniform(-9, 9)
    chosen, b, _ = brute_force(X / np.linalg.norm(X, axis=0), y, 6, ols)
    ours = coefs_of(X, y, n_nonzero_coefs=6, precompute=precompute, criterion="ols" if ols else "omp")
    assert set(np.flatnonzero(ours)) == set(chosen)
    assert_allclose(ours[chosen] * np.linalg.norm(X[:, chosen], axis=0), b, rtol=1e-8)
    path = omp_path(X, y, n_nonzero_coefs=6, criterion="ols" if ols else "omp")
    assert path.support.tolist() == chosen
    assert_allclose(path.coefs[:, -1], ours, rtol=1e-8)


@pytest.mark.parametrize("seed", range(40))
def test_recovers_what_coherence_promises(seed):
    """Any signal of k < (1 + 1 / mu) / 2 atoms is recovered (Tropp 2004)."""
    rng = np.random.default_rng(seed)
    # an incoherent dictionary: spikes and a random orthonormal basis
    m = 256
    spikes, waves = np.eye(m), np.linalg.qr(rng.normal(size=(m, m)))[0]
    X = np.hstack([spikes, waves])
    gram = np.abs(X.T @ X)
    np.fill_diagonal(gram, 0.0)
    k = int(np.ceil((1.0 + 1.0 / gram.max()) / 2.0)) - 1
    assert k >= 2
    support = rng.choice(2 * m, k, replace=False)
    b = np.zeros(2 * m)
    b[support] = rng.normal(size=k) * 10.0 ** rng.uniform(-3, 3, size=k)
    for precompute in (False, True):
        found = coefs_of(X, X @ b, n_nonzero_coefs=k, precompute=precompute)
        assert_allclose(found, b, rtol=1e-9, atol=1e-12 * np.abs(b).max())


class TestInvariance:
    @pytest.mark.parametrize("criterion", ["omp", "ols"])
    @pytest.mark.parametrize("precompute", [False, True])
    @pytest.mark.parametrize("scale", [1e-9, 1e-150, 1e150])
    def test_units_of_y(self, criterion, precompute, scale):
        X, Y = problem(3, n_targets=3)
        params = dict(n_nonzero_coefs=7, criterion=criterion, precompute=precompute)
        assert_allclose(coefs_of(X, Y * scale, **params) / scale, coefs_of(X, Y, **params), rtol=1e-10)

    @pytest.mark.parametrize("precompute", [False, True])
    def test_units_of_x(self, precompute, rng):
        X, y = problem(4)
        units = 10.0 ** rng.uniform(-6, 6, size=X.shape[1])
        for factor in (units, 1e6):
            got = coefs_of(X * factor, y, n_nonzero_coefs=7, precompute=precompute) * factor
            assert_allclose(got, coefs_of(X, y, n_nonzero_coefs=7), rtol=1e-9)

    @pytest.mark.parametrize("precompute", [False, True])
    @pytest.mark.parametrize("fit_intercept", [False, True])
    def test_weights_count_rows(self, precompute, fit_intercept, rng):
        X, Y = problem(5, n_targets=4)
        weights = rng.integers(0, 3, size=len(X)).astype(float)
        rows = np.repeat(np.arange(len(X)), weights.astype(int))
        model = OrthogonalMatchingPursuit(tol=0.3, fit_intercept=fit_intercept, precompute=precompute)
        weighted, repeated = clone(model).fit(X, Y, weights), clone(model).fit(X[rows], Y[rows])
        assert_allclose(weighted.coef_, repeated.coef_, atol=1e-10)
        assert_allclose(weighted.intercept_, repeated.intercept_, atol=1e-10)
        assert_array_equal(weighted.n_iter_, repeated.n_iter_)

    @pytest.mark.parametrize("precompute", [False, True])
    @pytest.mark.parametrize("fit_intercept", [False, True])
    @pytest.mark.parametrize("make", [sparse.csc_matrix, sparse.csr_array, np.asfortranarray])
    def test_form_of_x(self, precompute, fit_intercept, make):
        X, Y = problem(6, n_targets=3)
        X[np.abs(X) < 0.1] = 0.0
        model = OrthogonalMatchingPursuit(n_nonzero_coefs=5, fit_intercept=fit_intercept, precompute=precompute)
        dense, other = clone(model).fit(X, Y), clone(model).fit(make(X), Y)
        assert_allclose(other.coef_, dense.coef_, atol=1e-12)
        assert_allclose(other.intercept_, dense.intercept_, atol=1e-12)

    def test_intercept_is_a_column_of_ones_that_comes_first(self, rng):
        X, y = problem(7)
        X, y = X + 3.0 * rng.normal(size=X.shape[1]), y + 5.0
        model = OrthogonalMatchingPursuit(n_nonzero_coefs=4).fit(X, y)
        centred = coefs_of(X - X.mean(axis=0), y - y.mean(), n_nonzero_coefs=4)
        assert_allclose(model.coef_, centred, atol=1e-10)
        assert_allclose(model.predict(X).mean(), y.mean())

    def test_far_from_the_origin(self, rng):
        X, y = problem(8)
        for precompute in (False, True):
            far = OrthogonalMatchingPursuit(n_nonzero_coefs=4, precompute=precompute).fit(X + 1e6, y)
            near = OrthogonalMatchingPursuit(n_nonzero_coefs=4).fit(X, y)
            assert_allclose(far.coef_, near.coef_, rtol=1e-6)

    def test_read_only_and_untouched(self):
        X, Y = problem(9, n_targets=3)
        copies = X.copy(), Y.copy()
        X.setflags(write=False), Y.setflags(write=False)
        for precompute in (False, True):
            coefs_of(X, Y, n_nonzero_coefs=4, precompute=precompute)
        assert_array_equal(X, copies[0])
        assert_array_equal(Y, copies[1])


class TestDegenerate:
    @pytest.mark.parametrize("precompute", [False, True])
    @pytest.mark.parametrize("fit_intercept", [False, True])
    def test_zero_and_constant_y(self, precompute, fit_intercept):
        X, _ = problem(1)
        Y = np.column_stack([np.zeros(len(X)), np.full(len(X), 0.1) * fit_intercept, X[:, 3]])
        model = OrthogonalMatchingPursuit(n_nonzero_coefs=3, fit_intercept=fit_intercept, precompute=precompute)
        model.fit(X, Y)
        assert model.n_iter_.tolist() == [0, 0, 1]
        assert not model.coef_[:2].any()
        assert_allclose(model.coef_[2, 3], 1.0)
        assert omp_path(X, Y[:, 0], n_nonzero_coefs=3).coefs.shape == (X.shape[1], 0)

    @pytest.mark.parametrize("precompute", [False, True])
    def test_exact_fit_stops_without_a_warning(self, precompute):
        X, _ = problem(2)
        y = X[:, [1, 4, 9]] @ [3.0, -2.0, 1e-3]
        model = OrthogonalMatchingPursuit(n_nonzero_coefs=20, fit_intercept=False, precompute=precompute).fit(X, y)
        assert set(np.flatnonzero(model.coef_)) >= {1, 4, 9}
        assert_allclose(model.predict(X), y, atol=1e-12)
        assert model.n_iter_ <= 8

    @pytest.mark.parametrize("criterion", ["omp", "ols"])
    @pytest.mark.parametrize("precompute", [False, True])
    def test_more_atoms_than_the_rank(self, criterion, precompute, rng):
        X = rng.normal(size=(30, 4)) @ rng.normal(size=(4, 20))
        y = rng.normal(size=30)
        model = OrthogonalMatchingPursuit(
            n_nonzero_coefs=10, criterion=criterion, precompute=precompute, fit_intercept=False
        )
        with pytest.warns(RuntimeWarning, match="1 of 1 targets stopped before 10 .* depend linearly") as caught:
            model.fit(X, y)
        assert len(caught) == 1
        assert model.n_iter_ == 4
        assert_allclose(model.predict(X), X @ np.linalg.lstsq(X, y, rcond=None)[0], atol=1e-9)

    @pytest.mark.parametrize("precompute", [False, True])
    def test_duplicates_and_constants(self, precompute, rng):
        X, y = problem(3)
        X = np.column_stack([X, X[:, ::-1], np.full(len(X), 7.0), np.zeros(len(X))])
        model = OrthogonalMatchingPursuit(n_nonzero_coefs=6, precompute=precompute).fit(X, y)
        support = np.flatnonzero(model.coef_)
        assert len(support) == 6 and support.max() < 120
        assert len({min(j, 119 - j) for j in support}) == 6

    @pytest.mark.parametrize("precompute", [False, True])
    def test_tolerance_far_below_the_digits_of_the_recursion(self, precompute, rng):
        X = np.linalg.qr(rng.normal(size=(30, 12)))[0]
        y = X @ 10.0 ** -np.arange(12.0)
        for tol in (1e-7, 1e-11, 1e-15):
            model = OrthogonalMatchingPursuit(rtol=tol, fit_intercept=False, precompute=precompute).fit(X, y)
            tails = np.array([np.sum((y - X[:, :k] @ (X[:, :k].T @ y)) ** 2) for k in range(13)])
            assert model.n_iter_ == np.argmax(tails <= tol * (y @ y))

    @pytest.mark.parametrize("precompute", [False, True])
    @pytest.mark.parametrize(("sine", "dtype"), [(5e-5, np.float64), (5e-3, np.float32), (2e-6, np.float64)])
    def test_order_recursive_selection_sees_nearly_dependent_atoms(self, precompute, sine, dtype):
        atoms = np.array([[1.0, 0.0, 0.0], [np.sqrt(1.0 - sine**2), sine, 0.0], [0.0, 0.0, 1.0]], dtype=dtype)
        signal = np.array([[10.0, 1.0, 0.1]], dtype=dtype)
        # the first two atoms explain all but the last entry, however alike they are
        codes = SparseEncoder(atoms, n_nonzero_coefs=2, criterion="ols").fit_transform(signal)
        assert_allclose(np.linalg.norm(signal - codes.astype(float) @ atoms.astype(float)), 0.1, rtol=1e-2)
        coef = coefs_of(atoms.T, signal[0], n_nonzero_coefs=2, criterion="ols", precompute=precompute)
        assert_array_equal(coef != 0.0, [True, True, False])

    def test_tolerance_of_all_of_y_gives_zero(self):
        for seed in range(50):
            X, y = problem(seed)
            for precompute in (False, True):
                assert not coefs_of(X, y, tol=float(y @ y), precompute=precompute).any()
            assert not SparseEncoder(X.T, tol=float(y @ y)).fit_transform(y[None]).any()
        X, y = problem(4)
        for stopping in ({"tol": float(y @ y)}, {"rtol": 1.0}, {"tol": 1e9, "n_nonzero_coefs": 5}):
            assert not coefs_of(X, y, **stopping).any()

    def test_whichever_comes_first(self):
        X, y = problem(4)
        unlimited = omp_path(X, y, rtol=0.1)
        assert unlimited.n_iters > 2
        assert omp_path(X, y, rtol=0.1, n_nonzero_coefs=2).n_iters == 2
        assert omp_path(X, y, rtol=0.1, n_nonzero_coefs=40).n_iters == unlimited.n_iters

    def test_default_number_of_atoms(self):
        X, y = problem(4)
        assert OrthogonalMatchingPursuit().fit(X, y).n_nonzero_coefs_ == 6
        assert OrthogonalMatchingPursuit().fit(X[:, :4], y).n_nonzero_coefs_ == 1


class TestPath:
    @pytest.mark.parametrize("fit_intercept", [False, True])
    def test_each_step_is_the_fit_of_that_many(self, fit_intercept, rng):
        X, Y = problem(5, n_targets=3)
        weights = rng.uniform(0.5, 2.0, size=len(X))
        path = omp_path(X, Y, n_nonzero_coefs=6, fit_intercept=fit_intercept, sample_weight=weights)
        for k in range(1, 7):
            model = OrthogonalMatchingPursuit(n_nonzero_coefs=k, fit_intercept=fit_intercept).fit(X, Y, weights)
            assert_allclose(path.coefs[:, :, k - 1], model.coef_, atol=1e-12)
            assert_allclose(path.intercepts[:, k - 1], model.intercept_, atol=1e-12)
            norms = np.sqrt(weights @ (Y - model.predict(X)) ** 2)
            assert_allclose(path.residual_norms[:, k], norms, rtol=1e-10)

    def test_targets_that_stop_early_are_padded(self):
        X, y = problem(6)
        Y = np.column_stack([X[:, 3], y, np.zeros(len(X))])
        path = omp_path(X, Y, n_nonzero_coefs=4)
        assert path.n_iters.tolist() == [1, 4, 0]
        assert path.support[0].tolist() == [3, -1, -1, -1]
        assert_array_equal(path.coefs[0], np.repeat(path.coefs[0][:, :1], 4, axis=1))
        assert not path.coefs[2].any()

    def test_float32(self):
        X, y = problem(7)
        path = omp_path(X.astype(np.float32), y.astype(np.float32), n_nonzero_coefs=4)
        assert path.coefs.dtype == np.float32
        assert_allclose(path.coefs, omp_path(X, y, n_nonzero_coefs=4).coefs, atol=1e-5)


class TestCrossValidation:
    @pytest.mark.parametrize("n_targets", [1, 3])
    @pytest.mark.parametrize("make", [np.asarray, sparse.csc_array])
    def test_folds_equal_fits_on_copies(self, n_targets, make, rng):
        X, Y = problem(8, n=50, n_targets=n_targets)
        X, Y = X + rng.normal(size=X.shape[1]), Y + 2.0
        weights = rng.uniform(0.0, 2.0, size=50)
        cv = KFold(4, shuffle=True, random_state=0)
        model = OrthogonalMatchingPursuitCV(max_nonzero_coefs=8, cv=cv).fit(make(X), Y, weights)
        assert model.mse_path_.shape == (8, 4)
        for fold, (train, test) in enumerate(cv.split(X)):
            for k in (1, 4, 8):
                own = OrthogonalMatchingPursuit(n_nonzero_coefs=k).fit(X[train], Y[train], weights[train])
                squares = (Y[test] - own.predict(X[test])).reshape(len(test), -1) ** 2
                expected = np.average(squares.mean(axis=1), weights=weights[test])
                assert_allclose(model.mse_path_[k - 1, fold], expected, rtol=1e-9)
        best = model.mse_path_.mean(axis=1).argmin() + 1
        assert model.n_nonzero_coefs_ == best
        final = OrthogonalMatchingPursuit(n_nonzero_coefs=best).fit(X, Y, weights)
        assert_allclose(model.coef_, final.coef_, atol=1e-12)
        assert_allclose(model.intercept_, final.intercept_, atol=1e-10)

    def test_one_standard_error_rule_chooses_fewer(self, rng):
        X, y = problem(9, n=50)
        y = y + X @ rng.normal(size=60) * 0.3
        best = OrthogonalMatchingPursuitCV(max_nonzero_coefs=20).fit(X, y)
        fewer = OrthogonalMatchingPursuitCV(max_nonzero_coefs=20, selection_rule="1se").fit(X, y)
        assert fewer.n_nonzero_coefs_ < best.n_nonzero_coefs_
        mean = best.mse_path_.mean(axis=1)
        margin = best.mse_path_[mean.argmin()].std(ddof=1) / np.sqrt(5)
        assert fewer.n_nonzero_coefs_ == np.flatnonzero(mean <= mean.min() + margin)[0] + 1

    def test_threads_change_nothing(self):
        X, y = problem(9, n=50)
        one, two = (OrthogonalMatchingPursuitCV(n_jobs=n_jobs).fit(X, y) for n_jobs in (None, 2))
        assert_allclose(one.mse_path_, two.mse_path_, rtol=1e-12)

    def test_a_generator_of_folds_is_used_once(self):
        X, y = problem(9, n=50)
        weights = np.ones(50)
        with config_context(enable_metadata_routing=True):
            model = OrthogonalMatchingPursuitCV(cv=iter(list(KFold(4).split(X)))).fit(X, y, sample_weight=weights)
        assert model.mse_path_.shape[1] == 4
        with pytest.raises(ValueError, match="cv must give at least one fold"):
            OrthogonalMatchingPursuitCV(cv=[]).fit(X, y)

    def test_row_groups_reach_the_splitter(self, rng):
        X, y = problem(9, n=40)
        groups = np.repeat(np.arange(8), 5)
        model = OrthogonalMatchingPursuitCV(max_nonzero_coefs=3, cv=GroupKFold(4)).fit(X, y, groups=groups)
        assert model.mse_path_.shape == (3, 4)
        with pytest.raises(ValueError, match="takes no parameters"):
            OrthogonalMatchingPursuitCV(cv=3).fit(X, y, colour=groups)


class TestEncoder:
    @pytest.mark.parametrize("criterion", ["omp", "ols"])
    @pytest.mark.parametrize("stopping", [{"n_nonzero_coefs": 4}, {"rtol": 0.2}, {"tol": 2.0}, {}])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_equals_the_regression_with_atoms_as_columns(self, criterion, stopping, dtype, rng):
        dictionary = (rng.normal(size=(40, 16)) * rng.uniform(0.1, 10, size=(40, 1))).astype(dtype)
        signals = rng.normal(size=(300, 16)).astype(dtype)
        encoder = SparseEncoder(dictionary, criterion=criterion, **stopping).fit(signals)
        codes = encoder.transform(signals)
        assert codes.dtype == dtype
        exact = coefs_of(dictionary.T.astype(float), signals.T.astype(float), criterion=criterion, precompute=False,
                         **stopping).T  # fmt: skip
        if dtype == np.float64:
            assert_array_equal(codes != 0, exact != 0)
            assert_allclose(codes, exact, atol=1e-10)
        else:
            same = np.all((codes != 0) == (exact != 0), axis=1)
            assert same.mean() > 0.98
            assert_allclose(codes[same], exact[same], rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize("method", ["omp", "bpdn", "threshold"])
    def test_sparse_output_and_threads_change_nothing(self, method, rng):
        signals = rng.normal(size=(500, 12))
        params = dict(n_components=30, method=method, random_state=0) | ({} if method == "omp" else dict(alpha=0.05))
        dense = SparseEncoder(**params).fit(signals)
        codes = dense.transform(signals)
        packed = SparseEncoder(**params, sparse_output=True, n_jobs=2).fit(signals).transform(signals)
        assert sparse.issparse(packed) and packed.has_sorted_indices
        assert_allclose(packed.toarray(), codes, atol=1e-12)
        assert_allclose(dense.transform(sparse.csr_array(signals)), codes, atol=1e-12)
        assert_allclose(dense.inverse_transform(packed), codes @ dense.dictionary_)

    def test_bpdn_codes_are_lasso_solutions(self, rng):
        from sklearn.linear_model import Lasso

        dictionary, signals = rng.normal(size=(40, 16)), rng.normal(size=(5, 16))
        codes = SparseEncoder(dictionary, method="bpdn", alpha=0.1).fit_transform(signals)
        lasso = Lasso(alpha=0.1, fit_intercept=False, tol=1e-14, max_iter=100_000)
        assert_allclose(codes, [lasso.fit(dictionary.T, x).coef_.copy() for x in signals], atol=1e-7)

    def test_threshold_is_bpdn_for_orthogonal_atoms(self, rng):
        dictionary = np.linalg.qr(rng.normal(size=(16, 16)))[0] * rng.uniform(0.5, 2.0, size=(16, 1))
        signals = rng.normal(size=(50, 16))
        codes = [SparseEncoder(dictionary, method=m, alpha=0.02).fit_transform(signals) for m in ("bpdn", "threshold")]
        assert_allclose(*codes, atol=1e-10)

    def test_signals_that_the_gram_matrix_cannot_decide(self, rng):
        dictionary = rng.normal(size=(30, 20))
        dictionary[1] = dictionary[0] + 1e-7 * rng.normal(size=20)
        exact = np.zeros((4, 30))
        exact[0, [2, 3]], exact[1, [0, 1]], exact[3, [5]] = [1.0, -1.0], [1e3, -1e3], 1e-200
        signals = exact @ dictionary
        encoder = SparseEncoder(dictionary, n_nonzero_coefs=12, sparse_output=True).fit(signals)
        codes = encoder.transform(signals).toarray()
        assert_allclose(codes[0], exact[0], atol=1e-12)
        assert_allclose(codes[1], coefs_of(dictionary.T, signals[1], n_nonzero_coefs=12, precompute=False), rtol=1e-6)
        assert not codes[2].any()
        assert_allclose(codes[3] * 1e200, exact[3] * 1e200, atol=1e-12)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_signals_that_need_more_than_the_first_try(self, dtype, rng):
        """Little noise, small units, few independent atoms: solved again, not given up."""
        dictionary = rng.normal(size=(60, 20))
        exact = np.zeros((30, 60))
        for row in exact:
            row[rng.choice(60, 2, replace=False)] = rng.normal(size=2) + 2.0
        noisy = exact @ dictionary + 3e-5 * rng.normal(size=(30, 20))
        for scale in (1.0, 1e-11, 1e-25 if dtype == np.float32 else 1e-101):
            signals = (noisy * scale).astype(dtype)
            codes = SparseEncoder(dictionary, n_nonzero_coefs=4).fit_transform(signals)
            assert codes.dtype == dtype
            expected = coefs_of(dictionary.T, signals.T.astype(float), n_nonzero_coefs=4, precompute=False).T
            assert_array_equal(codes != 0, expected != 0)
            assert_allclose(codes / scale, expected / scale, rtol=1e-4, atol=1e-6)
        low_rank = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 20))
        with pytest.warns(RuntimeWarning, match="30 of 30 targets stopped before 10"):
            codes = SparseEncoder(low_rank, n_nonzero_coefs=10).fit_transform(noisy.astype(dtype))
        assert np.all(np.count_nonzero(codes, axis=1) == 3)

    def test_atoms_of_any_size(self, rng):
        dictionary, signals = rng.normal(size=(30, 8)), rng.normal(size=(5, 8))
        for params in (dict(n_nonzero_coefs=3), dict(method="threshold", alpha=0.0)):
            codes = SparseEncoder(dictionary, **params).fit_transform(signals)
            for scale in (1e-200, 1e200):
                other = SparseEncoder(dictionary * scale, **params)
                assert_allclose(other.fit_transform(signals) * scale, codes, rtol=1e-9)
        assert_allclose(np.linalg.norm(SparseEncoder(random_state=0).fit(signals * 1e-170).dictionary_, axis=1), 1.0)

    def test_unsolved_codes_warn(self):
        rows, columns = np.arange(60)[:, None], np.arange(20)
        hilbert = 1.0 / (rows + columns + 1.0)
        signal = np.sin(9.0 * np.linspace(0.0, 1.0, 60))[None]
        with pytest.warns(ConvergenceWarning, match="did not reach"):
            SparseEncoder(hilbert.T, method="bpdn", alpha=1e-9).fit_transform(signal)

    def test_drawn_dictionary(self, rng):
        signals = rng.normal(size=(50, 8))
        signals[::2] = 0.0
        encoder = SparseEncoder(n_components=10, random_state=0).fit(signals)
        assert_allclose(np.linalg.norm(encoder.dictionary_, axis=1), 1.0)
        assert_array_equal(encoder.dictionary_, SparseEncoder(n_components=10, random_state=0).fit(signals).dictionary_)
        assert len(encoder.get_feature_names_out()) == 10
        with pytest.raises(ValueError, match=r"n_components must be at most .* not zero, 25; got 26"):
            SparseEncoder(n_components=26).fit(signals)

    def test_before_a_classifier_in_a_grid_search(self):
        X, y = load_digits(return_X_y=True)
        X, y = X[:400] / 16.0, y[:400]
        pipeline = make_pipeline(
            SparseEncoder(n_components=100, random_state=0), LogisticRegression(C=10.0, max_iter=500)
        )
        search = GridSearchCV(pipeline, {"sparseencoder__n_nonzero_coefs": [1, 5]}, cv=3).fit(X, y)
        scores = search.cv_results_["mean_test_score"]
        assert scores.min() > 0.8 and scores[0] != scores[1]
        assert search.predict(X).shape == y.shape


class TestBadInput:
    X, y = problem(0)

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"n_nonzero_coefs": 0}, "n_nonzero_coefs"),
            ({"n_nonzero_coefs": 61}, "n_nonzero_coefs must be at most the number of features .*60; got 61"),
            ({"tol": -1.0}, "tol"),
            ({"rtol": -0.1}, "rtol"),
            ({"tol": 1.0, "rtol": 0.1}, "At most one of tol and rtol"),
            ({"criterion": "best"}, "criterion"),
        ],
    )
    def test_parameters(self, params, message):
        with pytest.raises(ValueError, match=message):
            OrthogonalMatchingPursuit(**params).fit(self.X, self.y)
        with pytest.raises(ValueError, match=message):
            omp_path(self.X, self.y, **params)
        with pytest.raises(ValueError, match=message):
            SparseEncoder(self.X.T, **params).fit(self.X.T)

    def test_cross_validation(self):
        with pytest.raises(ValueError, match=r"max_nonzero_coefs must be at most .*60; got 99"):
            OrthogonalMatchingPursuitCV(max_nonzero_coefs=99).fit(self.X, self.y)
        weights = np.zeros(len(self.X))
        weights[0] = 1.0
        with pytest.raises(ValueError, match="sample_weight must not vanish"):
            OrthogonalMatchingPursuitCV().fit(self.X, self.y, weights)

    def test_dictionary(self):
        with pytest.raises(ValueError, match=r"dictionary must have as many columns as X has features, 30.*\(5, 7\)"):
            SparseEncoder(np.ones((5, 7))).fit(self.X.T)
        with pytest.raises(ValueError, match="atoms that are zero; got zeros in rows 1, 2"):
            SparseEncoder(np.eye(30) * (np.arange(30) % 3 == 0)[:, None] + 0).fit(self.X.T)
        with pytest.raises(ValueError, match="NaN"):
            SparseEncoder(np.full((5, 30), np.nan)).fit(self.X.T)
        with pytest.raises(ValueError, match=r"n_components must be None or the number of atoms"):
            SparseEncoder(np.eye(30), n_components=3).fit(self.X.T)
        encoder = SparseEncoder(np.eye(30)).fit(self.X.T)
        with pytest.raises(ValueError, match="a column for each of the 30 atoms"):
            encoder.inverse_transform(np.ones((2, 3)))

    def test_nan(self):
        X = self.X.copy()
        X[0, 0] = np.nan
        for model in (OrthogonalMatchingPursuit(), OrthogonalMatchingPursuitCV(), SparseEncoder()):
            with pytest.raises(ValueError, match="NaN"):
                model.fit(X, self.y)


@pytest.mark.parametrize(
    "params, match",
    [
        (dict(method="bpdn", tol=0.1), r"tol must be None where method='bpdn'.*got 0\.1.*method='omp'"),
        (dict(method="threshold", rtol=0.1), "rtol must be None where method='threshold'"),
        (dict(method="bpdn", n_nonzero_coefs=2), "n_nonzero_coefs must be None where method='bpdn'.*got 2"),
        (dict(method="bpdn", criterion="ols"), "criterion must be 'omp' where method='bpdn'.*got 'ols'"),
        (dict(alpha=0.1), "alpha must be 1.0 where method='omp'.*got 0.1.*method='bpdn' and 'threshold'"),
    ],
)
def test_encoder_refuses_what_its_method_does_not_use(params, match, rng):
    signals = rng.normal(size=(10, 4))
    encoder = clone(SparseEncoder(np.eye(4), **params))
    with pytest.raises(ValueError, match=match):
        encoder.fit(signals)
    fitted = SparseEncoder(np.eye(4)).fit(signals).set_params(**params)
    with pytest.raises(ValueError, match=match):
        fitted.transform(signals)
