"""
Which houses have a wrong price?
================================

In a table of sales some prices lost a digit, and a few large estates were entered in another currency. Least squares
bends towards such rows until their residuals look harmless. `SparseOutlierRegressor` gives each row a term of its own,
zero for nearly all, and finds the rows that need one.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression

from skspar import OutlierPathDisplay, SparseOutlierRegressor, externally_studentized_residuals

# %%
# 500 houses. Thirty prices lost their last digit; the fifteen largest estates were entered at a third of their price.
# These large estates have leverage: they decide where a least-squares plane goes.

rng = np.random.default_rng(0)
n = 500
houses = pd.DataFrame(
    {
        "log area": np.log(rng.gamma(9.0, 14.0, n)),
        "rooms": rng.integers(2, 9, n).astype(float),
        "age": rng.uniform(0, 100, n),
        "distance": rng.exponential(5.0, n),
    }
)
estates = np.arange(n) < 15
houses.loc[estates, "log area"] = np.log(rng.uniform(600, 900, 15))
log_price = 8.0 + 0.9 * houses["log area"] + 0.03 * houses["rooms"] - 0.003 * houses["age"] - 0.02 * houses["distance"]
log_price = (log_price + 0.15 * rng.normal(size=n)).to_numpy()
is_wrong = estates.copy()
is_wrong[rng.choice(np.arange(15, n), 30, replace=False)] = True
entered = log_price - np.where(estates, np.log(3.0), np.where(is_wrong, np.log(10.0), 0.0))

# %%
# Least squares and its residuals (scaled as they should be, each row judged by a fit without it, beyond 3) beside the
# robust fit. With "bonferroni", if nothing is wrong, any row is flagged with probability 0.01.

least_squares = LinearRegression().fit(houses, entered)
by_residuals = np.abs(externally_studentized_residuals(houses, entered).t) > 3
robust = SparseOutlierRegressor(alpha="bonferroni", random_state=0).fit(houses, entered)
for name, flagged, model in [("least squares", by_residuals, least_squares), ("robust", robust.outlier_mask_, robust)]:
    print(
        f"{name:14} finds {np.sum(flagged & estates):2} of 15 estates, {np.sum(flagged & is_wrong & ~estates)} of 30 "
        f"lost digits, {np.sum(flagged & ~is_wrong)} false alarms; elasticity of area {model.coef_[0]:.2f} (true 0.90)"
    )

# %%
# Prices against area. The estates pull the line of least squares down to them, and so escape.

at = pd.DataFrame(np.tile(houses.mean(), (50, 1)), columns=houses.columns)
at["log area"] = np.linspace(houses["log area"].min(), houses["log area"].max(), 50)
figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained", sharey=True)
panels = [("least squares, |t| > 3", by_residuals, least_squares), ("robust", robust.outlier_mask_, robust)]
for ax, (name, flagged, model) in zip(axes, panels):
    ax.plot(houses["log area"][~is_wrong], entered[~is_wrong], ".", color="0.6", ms=4, label="right price")
    ax.plot(houses["log area"][is_wrong], entered[is_wrong], "x", color="#D55E00", ms=5, label="wrong price")
    ax.plot(houses["log area"][flagged], entered[flagged], "o", mfc="none", color="#0072B2", ms=9, label="flagged")
    ax.plot(at["log area"], model.predict(at), color="black", lw=1.5, label="fit, other columns at their means")
    ax.set(title=name, xlabel="log of the area")
axes[0].set_ylabel("log of the price entered")
_ = axes[0].legend(loc="lower right", fontsize="small", frameon=False)

# %%
# How far each flagged price is from what the others say, as the threshold falls: the thirty lost digits at about
# -2.3 = log(1/10), the fifteen estates at about -1.1 = log(1/3).

display = OutlierPathDisplay.from_estimator(robust, houses, entered, max_labels=0)
plt.show()
