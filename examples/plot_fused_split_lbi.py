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
truth = np.repeat([0.0, 3.0, 1.0, -2.0, 0.0, 2.0], 40)
n = len(truth)
y = truth + 0.6 * rng.normal(size=n)

# %%
# The fused Lasso is a Lasso on step functions. Split-LBI takes the differences of neighbours by ``D="fused"``. X is the
# identity, scaled so that the loss, a mean over rows, is half the squared distance to the signal.

steps = np.tril(np.ones((n, n)))[:, 1:]
lasso = GroupLassoCV(cv=KFold(10, shuffle=True, random_state=0), alphas=50).fit(steps, y)
X = sparse.eye_array(n, format="csr") * np.sqrt(n)
path = split_lbi_path(X, np.sqrt(n) * y, D="fused", fit_intercept=False, nu=0.1)

# %%
# How many jumps? The path says: five enter early, and then nothing happens for a long time. That gap is a place to
# stop at, here found as the longest (on the logarithmic scale) between one entry and the next.

entries = np.sort(path.first_entry)[:20]
n_jumps = int(np.argmax(np.diff(np.log(entries)))) + 1
stop = float(np.sqrt(entries[n_jumps - 1] * entries[n_jumps]))
at = int(np.searchsorted(path.times, stop)) - 1
fits = {"fused Lasso": lasso.predict(steps), "Split-LBI": path.coefs_sparse[:, at]}
print("true jumps at", (np.flatnonzero(np.diff(truth)) + 1).tolist())
for name, fit in fits.items():
    jumps = np.flatnonzero(np.abs(np.diff(fit)) > 1e-8) + 1
    print(f"{name}: {len(jumps)} jumps, root mean squared error {np.sqrt(np.mean((fit - truth) ** 2)):.3f}")
    if len(jumps) < 10:
        print("  at", jumps.tolist())

display = RegularizationPathDisplay.from_path(
    path, kind="gammas", names=[f"at {k + 1}" for k in range(n - 1)], selected=stop, max_labels=n_jumps
)
display.ax_.set_ylabel("jump")

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
