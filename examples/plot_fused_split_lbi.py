"""
Where does a noisy signal jump?
===============================

A piecewise-constant signal has sparse differences. The fused Lasso penalises them, and shrinks every jump while it
does, so that cross-validation keeps the penalty weak and many false jumps. `split_lbi_path` follows a path on which
jumps enter one by one at nearly their full size.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import sparse
from sklearn.model_selection import KFold

from skspar import GroupLassoCV, RegularizationPathDisplay, split_lbi_path

# %%
# Six levels, five jumps, and noise.

rng = np.random.default_rng(0)
truth = np.repeat([0.0, 3.0, 1.0, -2.0, 0.0, 2.0], 50)
n = len(truth)
y = truth + 0.5 * rng.normal(size=n)

# %%
# The fused Lasso is a Lasso on step functions. Split-LBI takes the differences of neighbours by ``D="fused"``. X is the
# identity, scaled so that the loss, a mean over rows, is half the squared distance to the signal.

steps = np.tril(np.ones((n, n)))[:, 1:]
lasso = GroupLassoCV(cv=KFold(10, shuffle=True, random_state=0), alphas=50).fit(steps, y)
X = sparse.eye_array(n, format="csr") * np.sqrt(n)
path = split_lbi_path(X, np.sqrt(n) * y, D="fused", fit_intercept=False, nu=0.1)

# %%
# Where to stop? Differences fill in a place that is held out from its neighbours, so that cross-validation would do,
# with places drawn at random: ``SplitLBICV(cv=KFold(5, shuffle=True), selection_rule="1se")``. A Bayesian information
# criterion needs one path only: a jump costs two parameters, its place and its size.

rss = np.sum((y[:, None] - path.coefs_sparse) ** 2, axis=0)
n_jumps = np.count_nonzero(path.gammas, axis=0)
at = int(np.argmin(n * np.log(rss / n) + 2 * n_jumps * np.log(n)))
fits = {"fused Lasso": lasso.predict(steps), "Split-LBI": path.coefs_sparse[:, at]}
print("true jumps at", (np.flatnonzero(np.diff(truth)) + 1).tolist())
for name, fit in fits.items():
    jumps = np.flatnonzero(np.abs(np.diff(fit)) > 1e-8) + 1
    print(f"{name}: {len(jumps)} jumps, root mean squared error {np.sqrt(np.mean((fit - truth) ** 2)):.3f}")
    if len(jumps) < 10:
        print("  at", jumps.tolist())

display = RegularizationPathDisplay.from_path(
    path, kind="gammas", names=[f"at {k + 1}" for k in range(n - 1)], selected=path.times[at], max_labels=n_jumps[at]
)
_ = display.ax_.set_ylabel("jump")

# %%
# Both fits. The levels of the fused Lasso are pulled towards each other, and its many small jumps are false.

figure, axes = plt.subplots(2, 1, figsize=(8, 5.5), layout="constrained", sharex=True, sharey=True)
for ax, (name, fit) in zip(axes, fits.items()):
    ax.plot(y, ".", color="0.7", ms=3, label="observed")
    ax.plot(truth, color="black", lw=1, ls="--", label="truth")
    ax.plot(fit, color="#0072B2", lw=1.8, label="fit", drawstyle="steps-mid")
    ax.set(title=f"{name}: {np.sum(np.abs(np.diff(fit)) > 1e-8)} jumps", ylabel="value")
axes[0].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
axes[1].set_xlabel("position")
plt.show()
