"""Removing noise from a photograph: each patch is written with the few waves that explain it."""

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image
from sklearn.feature_extraction.image import extract_patches_2d, reconstruct_from_patches_2d

from skspar import SparseEncoder, mutual_coherence

TITLE = "what is signal and what is noise in a photograph?"

SIZE, N_WAVES = 8, 16
NOISE = 20.0  # SD, on a scale of grey from 0 to 255
GAIN = 1.1  # a patch is explained when what is left has this many SDs a pixel


def run(folder):
    clean = load_grey()
    noisy = clean + NOISE * np.random.default_rng(0).normal(size=clean.shape)
    dictionary = waves()
    print(
        f"{clean.shape[0]} x {clean.shape[1]} pixels, noise of SD {NOISE:.0f}. Dictionary: {len(dictionary)} waves on "
        f"{SIZE} x {SIZE} pixels, coherence {mutual_coherence(dictionary.T):.2f}."
    )
    encoder = SparseEncoder(dictionary, tol=SIZE**2 * (GAIN * NOISE) ** 2, sparse_output=True, n_jobs=-1)
    patches = extract_patches_2d(noisy, (SIZE, SIZE)).reshape(-1, SIZE**2)
    means = patches.mean(axis=1, keepdims=True)
    encoder.fit(patches[:1])
    start = time.perf_counter()
    codes = encoder.transform(patches - means)
    seconds = time.perf_counter() - start
    print(
        f"{len(patches):,} patches coded by matching pursuit in {seconds:.2f} s ({1e6 * seconds / len(patches):.1f} "
        f"microseconds each), with {codes.nnz / len(patches):.1f} waves on average."
    )
    denoised = reconstruct_from_patches_2d(
        (encoder.inverse_transform(codes) + means).reshape(-1, SIZE, SIZE), noisy.shape
    )
    blurred = reconstruct_from_patches_2d(np.broadcast_to(means[:, :, None], (len(means), SIZE, SIZE)), noisy.shape)
    pictures = {
        "original": clean,
        f"with noise, {psnr(clean, noisy):.1f} dB": noisy,
        f"patch means, {psnr(clean, blurred):.1f} dB": blurred,
        f"matching pursuit, {psnr(clean, denoised):.1f} dB": denoised,
    }
    print("Peak signal-to-noise ratio:", "; ".join(list(pictures)[1:]))
    return [draw(folder / "pursuit_denoising.png", pictures), draw_dictionary(folder / "pursuit_waves.png", dictionary)]


def load_grey():
    """A part of a photograph, in shades of grey."""
    grey = load_sample_image("china.jpg").mean(axis=2)
    return grey[60:316:, 130:450]


def waves():
    """Products of cosines across and down, of more frequencies than there are pixels; unit norm."""
    lines = np.cos(np.outer(np.arange(SIZE) + 0.5, np.arange(N_WAVES)) * np.pi / N_WAVES)
    lines[:, 1:] -= lines[:, 1:].mean(axis=0)
    atoms = np.kron(lines, lines).T
    return atoms / np.linalg.norm(atoms, axis=1, keepdims=True)


def psnr(clean, other):
    """Peak signal-to-noise ratio in decibels."""
    return 10.0 * np.log10(255.0**2 / np.mean((clean - other) ** 2))


def draw(file, pictures):
    figure, axes = plt.subplots(2, 2, figsize=(8.5, 7.2), layout="constrained")
    for ax, (title, picture) in zip(axes.flat, pictures.items()):
        ax.imshow(picture, cmap="gray", vmin=0, vmax=255)
        ax.set_title(title)
        ax.axis("off")
    figure.savefig(file)
    plt.close(figure)
    return file


def draw_dictionary(file, dictionary):
    tiles = np.ones((N_WAVES, SIZE + 1, N_WAVES, SIZE + 1))
    shades = dictionary / np.abs(dictionary).max(axis=1, keepdims=True)
    tiles[:, :SIZE, :, :SIZE] = shades.reshape(N_WAVES, N_WAVES, SIZE, SIZE).transpose(0, 2, 1, 3)
    figure, ax = plt.subplots(figsize=(5.5, 5.8), layout="constrained")
    ax.imshow(tiles.reshape(N_WAVES * (SIZE + 1), -1)[:-1, :-1], cmap="gray", interpolation="nearest")
    ax.set_title(f"The {len(dictionary)} waves that patches are made of")
    ax.axis("off")
    figure.savefig(file)
    plt.close(figure)
    return file
