"""Tissue intensities of a hard phantom's four sequences, drawn anew for every case."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FLAIR, T1W, T1GD, T2W = range(4)

# Lowest and highest mean of each tissue in (FLAIR, T1w, T1gd, T2w), white matter in T1 about 1. Ratios of tumour
# tissue to brain as in the 10 BraTS patients measured (a tissue's median over that of grey and white matter: edema
# 1.2 to 2.1, 0.9 to 1.1, 0.8 to 1.1, 1.2 to 1.9; core 1.0 to 2.6, 0.7 to 1.1, 0.6 to 1.15, 1.2 to 3.1; enhancing 1.6
# to 2.3, 0.8 to 1.1, 1.2 to 2.2, 1.6 to 2.1), and a little beyond.
RANGES = {
    "grey": ((0.88, 1.12), (0.68, 0.93), (0.70, 0.95), (0.88, 1.12)),
    "white": ((0.74, 1.00), (0.95, 1.05), (0.92, 1.08), (0.64, 0.90)),
    "fluid": ((0.12, 0.65), (0.12, 0.50), (0.12, 0.50), (1.30, 3.00)),
    "margin": ((0.05, 0.60), (0.05, 0.50), (0.05, 0.60), (0.05, 0.50)),
    "fat": ((0.60, 2.00), (1.00, 2.20), (1.00, 2.20), (0.60, 1.80)),
    "edema": ((1.10, 1.95), (0.72, 1.00), (0.70, 1.00), (1.02, 1.75)),
    "solid": ((1.08, 2.20), (0.58, 0.98), (0.52, 1.02), (1.15, 2.30)),
    "necrosis": ((0.15, 2.30), (0.38, 0.90), (0.30, 0.85), (1.40, 3.00)),
    "enhancing": ((1.05, 2.10), (0.68, 1.08), (1.15, 2.40), (1.10, 2.05)),
    "vessel": ((0.25, 0.90), (0.50, 1.10), (1.15, 2.40), (0.25, 0.90)),
    "hyperintensity": ((1.15, 1.75), (0.72, 0.98), (0.74, 1.00), (1.02, 1.55)),
    "blood": ((0.60, 1.70), (1.15, 1.80), (1.20, 1.90), (0.40, 1.70)),
}
# Some cases leave what is usual, so that a network cannot rest on a few scanners' contrasts (domain randomisation,
# Billot et al. 2023, SynthSeg, doi:10.1016/j.media.2023.102789): ranges this much wider about their middles.
WIDE_SHARE, WIDENING = 0.3, 1.7
# What remains true even then, or no reader could tell: edema is brighter than brain in FLAIR, and enhancement shows.
LEAST_EDEMA, LEAST_UPTAKE = 0.12, 0.15
# T1gd is mostly the sequence of T1w again; where it is another one, its tissues have means of their own.
SAME_T1_SHARE = 0.65

Means = dict[str, NDArray[np.float64]]


def draw_means(rng: np.random.Generator) -> Means:
    """Mean intensity of every tissue in the four sequences, (4,) each."""
    wide = WIDENING if rng.random() < WIDE_SHARE else 1.0
    means: Means = {}
    for tissue, ranges in RANGES.items():
        low, high = np.array(ranges).T
        middle, half = (low + high) / 2, wide * (high - low) / 2
        means[tissue] = np.maximum(rng.uniform(middle - half, middle + half), 0.03)
    if rng.random() < SAME_T1_SHARE:
        for tissue in ("grey", "white", "fluid", "margin", "fat", "edema", "solid", "necrosis", "hyperintensity"):
            means[tissue][T1GD] = means[tissue][T1W] * rng.uniform(0.88, 1.08)
    brain = np.maximum(means["grey"], means["white"])
    for tissue in ("edema", "solid", "hyperintensity"):
        means[tissue][FLAIR] = max(means[tissue][FLAIR], brain[FLAIR] + LEAST_EDEMA)
    beside = max(means["edema"][T1GD], means["solid"][T1GD], means["necrosis"][T1GD])
    means["enhancing"][T1GD] = max(means["enhancing"][T1GD], beside + LEAST_UPTAKE)
    return means
