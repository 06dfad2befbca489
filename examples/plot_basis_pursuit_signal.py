"""
Can a signal be recovered from a few noisy samples?
===================================================

A sound of few frequencies is sampled at random moments, at a fifth of the regular rate, with noise. In a dictionary of
cosines it is sparse, and `BPDN` looks for the coefficients of least l1 norm that explain the samples up to the noise.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.fft import idct

from skspar import BPDN, BPDNCV, CVPathDisplay, RegularizationPathDisplay, bpdn_path

# %%
# 500 moments, five frequencies, 100 samples with noise of standard deviation 0.1.

rng = np.random.default_rng(0)
N, n, noise = 500, 100, 0.1
cosines = idct(np.eye(N), axis=0, norm="ortho") * np.sqrt(N / 2)
true = np.zeros(N)
true[[17, 40, 41, 90, 153]] = [1.0, -0.8, 0.6, 0.5, 0.4]
signal = cosines @ true
moments = np.sort(rng.choice(N, n, replace=False))
samples = signal[moments] + noise * rng.normal(size=n)
X = cosines[moments]

# %%
# If the noise is known, its size says how closely to fit: the norm of the residual may be sigma = noise * sqrt(n).
# Cross-validation does without.

known = BPDN(sigma=noise * np.sqrt(n), fit_intercept=False).fit(X, samples)
chosen = BPDNCV(fit_intercept=False, selection_rule="1se").fit(X, samples)
minimum_norm = X.T @ np.linalg.solve(X @ X.T, samples)
for name, coef in [("sigma known", known.coef_), ("cross-validated", chosen.coef_), ("least norm", minimum_norm)]:
    error = np.linalg.norm(cosines @ coef - signal) / np.linalg.norm(signal)
    print(f"{name:16}{np.sum(np.abs(coef) > 1e-9):4} cosines, relative error of the signal {error:.2f}")

# %%
# A stretch of the signal. The least-norm solution, which fits the samples exactly and needs no sparsity, is near zero
# where there are no samples; `BPDN` knows better.

figure, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
ax.plot(signal, color="black", lw=1, label="signal")
ax.plot(cosines @ minimum_norm, color="#D55E00", lw=1.2, ls=":", label="least norm")
ax.plot(cosines @ known.coef_, color="#0072B2", lw=1.8, ls="--", label="BPDN, sigma known")
ax.plot(moments, samples, "o", color="black", ms=4, label="samples")
ax.set(xlim=(150, 250), xlabel="moment", ylabel="signal")
_ = ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)

# %%
# The path: the five true cosines enter first. The dotted line is where the residual has the size of the noise.

path = bpdn_path(X, samples)
display = RegularizationPathDisplay.from_path(
    path, names=[f"cosine {k}" for k in range(N)], selected=known.alpha_, max_labels=5
)

# %%
# Cross-validation comes to a similar penalty.

CVPathDisplay.from_estimator(chosen)
plt.show()
