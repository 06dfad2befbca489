"""
How many measurements does a sparse signal need?
================================================

A signal of N entries, k of them nonzero, is measured by n random projections, fewer than N. Basis pursuit recovers it
from these exactly, or not at all, and the border between the two is sharp: Donoho and Tanner computed where it lies for
large N. Below, the share of random signals that `BasisPursuit` and `OrthogonalMatchingPursuit` recover at N = 240.
"""

import matplotlib.pyplot as plt
import numpy as np

from skspar import BasisPursuit, OrthogonalMatchingPursuit

N, TRIALS = 240, 12

# %%
# The theoretical border: the largest k / n for each n / N (Donoho & Tanner 2009, "Observed universality of phase
# transitions in high-dimensional geometry", weak threshold of the cross-polytope).

deltas = np.array([0.1, 0.25, 0.5, 0.75, 0.9])
border = np.array([0.189, 0.267, 0.386, 0.534, 0.678])

# %%
# For each share of measurements, signals of more and more nonzero entries.

rng = np.random.default_rng(0)
rhos = np.linspace(0.05, 0.95, 19)
models = {
    "basis pursuit": lambda X, y, k: BasisPursuit(fit_intercept=False).fit(X, y),
    "matching pursuit": lambda X, y, k: OrthogonalMatchingPursuit(k, fit_intercept=False).fit(X, y),
}
recovered = {name: np.zeros((len(deltas), len(rhos))) for name in models}
for i, delta in enumerate(deltas):
    n = round(delta * N)
    for j, rho in enumerate(rhos):
        k = max(1, round(rho * n))
        for _ in range(TRIALS):
            X = rng.normal(size=(n, N))
            b = np.zeros(N)
            b[rng.choice(N, k, replace=False)] = rng.normal(size=k)
            for name, model in models.items():
                if j and recovered[name][i, j - 1] == 0.0:
                    continue  # beyond the border nothing is recovered any more
                error = np.linalg.norm(model(X, X @ b, k).coef_ - b)
                recovered[name][i, j] += (error < 1e-6 * np.linalg.norm(b)) / TRIALS

# %%
# Half of the signals are recovered close to the theoretical border, although N is small.

half = {name: np.array([np.interp(-0.5, -row, rhos) for row in share]) for name, share in recovered.items()}
for name, rho in half.items():
    print(f"{name}: half recovered at k / n =", rho.round(2))
print("theory for large N:             ", border.round(2))

figure, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
ax.plot(deltas, border, color="black", label="theory, basis pursuit, large N")
for (name, rho), marker, colour in zip(half.items(), "os", ("#0072B2", "#D55E00")):
    ax.plot(deltas, rho, marker, color=colour, label=f"{name}, N = {N}")
ax.fill_between(deltas, 0.0, border, color="#0072B2", alpha=0.1)
ax.text(0.55, 0.12, "recovered")
ax.text(0.3, 0.62, "lost")
ax.set(
    xlabel="measurements per entry, n / N",
    ylabel="nonzero entries per measurement, k / n",
    xlim=(0.0, 1.0),
    ylim=(0.0, 1.0),
    title="Where half of the signals are recovered",
)
ax.legend(loc="upper left", frameon=False)
plt.show()
