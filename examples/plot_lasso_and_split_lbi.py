"""
What does a path without shrinkage look like?
=============================================

The Lasso selects by shrinking: a penalty that is strong enough to keep noise out takes its share of every coefficient,
and one that is weak enough for unbiased coefficients lets noise in. On the path of Split-LBI a coefficient that has
entered soon stands at its least-squares value. Both paths below are of the same data.
"""

import matplotlib.pyplot as plt
import numpy as np

from skspar import RegularizationPathDisplay, group_lasso_path, inverse_scale_space_path, split_lbi_path

# %%
# 100 rows, 60 features; six of them matter.

rng = np.random.default_rng(0)
X = rng.normal(size=(100, 60))
coef = np.zeros(60)
coef[:6] = [3.0, -2.5, 2.0, 1.5, -1.5, 1.0]
y = X @ coef + rng.normal(size=100)
X, y = X - X.mean(axis=0), y - y.mean()

alphas, lasso, _ = group_lasso_path(X, y)
split = split_lbi_path(X, y, nu=None)
exact = inverse_scale_space_path(X, y)

# %%
# Where along each path are exactly the six features selected, and how far are their coefficients from the truth then?


def best(coefs):
    right = [k for k, b in enumerate(coefs.T) if set(np.flatnonzero(b)) == set(range(6))]
    if not right:
        return None
    errors = [np.linalg.norm(coefs[:, k] - coef) for k in right]
    return right[int(np.argmin(errors))]


oracle = np.linalg.lstsq(X[:, :6], y, rcond=None)[0]
paths = {"Lasso": lasso, "Split-LBI": split.coefs, "inverse scale space": exact.coefs}
for name, coefs in paths.items():
    k = best(coefs)
    print(f"{name:20} distance from the truth where it selects right: {np.linalg.norm(coefs[:, k] - coef):.2f}")
print(f"{'least squares':20} on these six features: {np.linalg.norm(oracle - coef[:6]):.2f}")

# %%
# The pictures. Dashed: the true coefficients. The Lasso's lines reach them when noise (grey) has entered; those of
# Split-LBI long before. `inverse_scale_space_path` is its limit, without damping: constant between the times at which
# features enter or leave.

figure, axes = plt.subplots(3, 1, figsize=(8, 9.5), layout="constrained", sharey=True)
shown = dict(max_labels=6)
RegularizationPathDisplay.from_path(alphas, lasso, selected=alphas[best(lasso)], ax=axes[0], **shown)
RegularizationPathDisplay.from_path(split, selected=split.times[best(split.coefs)], ax=axes[1], **shown)
RegularizationPathDisplay.from_path(exact, selected=exact.times[best(exact.coefs)], ax=axes[2], **shown)
for ax, name in zip(axes, paths):
    for value in coef[:6]:
        ax.axhline(value, color="0.5", ls="--", lw=0.7, zorder=0)
    ax.set_title(name, loc="left", fontweight="bold")
    ax.get_legend().set_title("feature")
plt.show()
