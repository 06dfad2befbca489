"""Iris flowers some of which were measured in inches: which rows each method flags, and what it predicts then."""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import HuberRegressor, LinearRegression, RANSACRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skspar import OutlierPathDisplay, SparseOutlierRegressor, externally_studentized_residuals

from . import COLOURS, GREY

TITLE = "some of the records have a wrong target: which, and what did they do to the fit?"

N_WRONG = 15
N_SPLITS = 10
METHODS = ["least squares, |t| > 3", "HuberRegressor", "RANSACRegressor", "skspar, l1", "skspar, hard"]


def run(folder):
    data = load_iris(as_frame=True).data
    y = data.pop("petal length (cm)")
    X = data.rename(columns=lambda name: name.removesuffix(" (cm)"))
    print(f"The petal length of {X.shape[0]} irises from {', '.join(X.columns)}, all in cm. A third is")
    print(f"held out; of the others {N_WRONG} have a petal length in inches: drawn at random, or those with the widest")
    print("petals, which is leverage.")
    for kind in ("random", "leverage"):
        compare(X, y, kind)
    pictures = []
    for draw, kind in [(draw_methods, "leverage"), (draw_path, "random")]:
        X_train, _, wrong_y, _, is_wrong, _ = corrupted(X, y, kind, 0)
        pictures.append(
            draw(folder / f"outliers_{draw.__name__.removeprefix('draw_')}.png", X_train, wrong_y, is_wrong)
        )
    return pictures


def corrupted(X, y, kind, seed):
    """Training and test data, the training targets with errors, which rows have them, and the right targets."""
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=1 / 3, random_state=seed)
    rng = np.random.default_rng(seed)
    if kind == "random":
        rows = rng.choice(len(X_train), N_WRONG, replace=False)
    else:
        rows = np.argsort(X_train["petal width"].to_numpy())[-N_WRONG:]
    is_wrong = np.zeros(len(X_train), dtype=bool)
    is_wrong[rows] = True
    wrong_y = y_train.to_numpy().copy()
    wrong_y[is_wrong] /= 2.54
    return X_train, X_test, wrong_y, y_test.to_numpy(), is_wrong, y_train.to_numpy()


def fitted(name, X, y):
    """A model of each kind, and the rows that it flags."""
    if name.startswith("least"):
        model = LinearRegression().fit(X, y)
        return model, np.abs(externally_studentized_residuals(X, y).t) > 3
    if name == "HuberRegressor":
        model = make_pipeline(StandardScaler(), HuberRegressor(epsilon=2.5, alpha=0.0, max_iter=1000)).fit(X, y)
        return model, model[-1].outliers_
    if name == "RANSACRegressor":
        model = RANSACRegressor(random_state=0).fit(X, y)
        return model, ~model.inlier_mask_
    model = SparseOutlierRegressor(name.removeprefix("skspar, "), random_state=0).fit(X, y)
    return model, model.outlier_mask_


def compare(X, y, kind):
    found = {name: [] for name in METHODS}
    right = []
    for seed in range(N_SPLITS):
        X_train, X_test, wrong_y, y_test, is_wrong, y_train = corrupted(X, y, kind, seed)
        right.append(r2_score(y_test, LinearRegression().fit(X_train, y_train).predict(X_test)))
        for name in METHODS:
            model, flagged = fitted(name, X_train, wrong_y)
            r2 = r2_score(y_test, model.predict(X_test))
            found[name].append((flagged[is_wrong].sum(), flagged[~is_wrong].sum(), r2))
    print(f"\nWrong targets: {kind}. Means over {N_SPLITS} splits")
    print(f"{'':26}{f'of {N_WRONG} found':>14}{'good ones flagged':>20}{'held-out R2':>14}")
    for name, values in found.items():
        hits, alarms, r2 = np.mean(values, axis=0)
        print(f"{name:26}{hits:>14.1f}{alarms:>20.1f}{r2:>14.3f}")
    print(f"{'least squares, no errors':26}{'':>14}{'':>20}{np.mean(right):>14.3f}")


def draw_methods(file, X, y, is_wrong):
    """Targets against predictions, one panel a method: wrong rows in colour, flagged rows ringed."""
    shown = ["least squares, |t| > 3", "HuberRegressor", "RANSACRegressor", "skspar, hard"]
    figure, grid = plt.subplots(2, 2, figsize=(9, 7.6), sharex=True, sharey=True)
    for axes, name in zip(grid.flat, shown):
        model, flagged = fitted(name, X, y)
        prediction = model.predict(X)
        axes.plot(prediction[~is_wrong], y[~is_wrong], "o", color=GREY, ms=3.5, mew=0, alpha=0.7, label="right target")
        axes.plot(prediction[is_wrong], y[is_wrong], "o", color=COLOURS[1], ms=4.5, mew=0, label="wrong target")
        axes.plot(prediction[flagged], y[flagged], "o", mfc="none", mec=COLOURS[0], ms=8, mew=1.2, label="flagged")
        ends = np.array([1.0, 7.0])
        axes.plot(ends, ends, color="black", lw=0.8, ls=":")
        axes.set_title(
            f"{name}: {flagged[is_wrong].sum()} of {is_wrong.sum()} found, {flagged[~is_wrong].sum()} others"
        )
    grid[0, 0].legend(loc="upper left")
    figure.supxlabel("predicted petal length, cm")
    figure.supylabel("petal length in the training data")
    return save(figure, file)


def draw_path(file, X, y, is_wrong):
    """The outlier indicator of every row as the threshold falls."""
    model = SparseOutlierRegressor(random_state=0).fit(X, y)
    display = OutlierPathDisplay.from_estimator(model, X, y, max_labels=12, names=[f"flower {i}" for i in X.index])
    wrong = model.outlier_mask_[is_wrong].sum()
    display.ax_.set_title(f"{model.outlier_mask_.sum()} rows flagged (in colour), {wrong} of them wrong", pad=20)
    return save(display.figure_, file)


def save(figure, file):
    figure.savefig(file)
    plt.close(figure)
    return file
