"""The hard phantom: synthetic patients as different from each other as those of many hospitals, and more so.

What a network learns on one scanner's contrasts and one kind of tumour does not carry over to patients. These cases
vary, over and beyond what was measured on 10 BraTS patients (as ranges, written beside the constants that came from
them): tumours, contrasts, resolutions, noise, sensitivity of coils, remains of the skull, fields of view, and findings
that look like tumours. The anatomy is that of the standard phantom.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scripts.phantom.anatomy import Anatomy, Grid, Mask, Volume, make_anatomy, random_place, smooth_field
from scripts.phantom.hard_contrast import FLAIR, draw_means
from scripts.phantom.hard_gliomas import Tumours, draw_gliomas, plan_gliomas
from scripts.phantom.hard_mimics import fold, mimics, skull_remains
from scripts.phantom.hard_scanner import acquire, plan_sequence

# In 5 of the 10 patients the field of view ends within the brain stem or cerebellum.
CUT_BELOW_SHARE, CUT_BELOW_MM = 0.5, (-72.0, -42.0)


def make_hard_case(
    index: int, seed: int, grid: Grid, parts: Sequence[int] = range(4, 8)
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """One patient of the hard phantom, which depends on the seed, its index and the parts alone.

    Args:
        index: of the case in its set.
        seed: another seed, other patients.
        grid: of the volumes.
        parts: the four random streams, which go to the plan, the body, the tumours' shape and the scan.

    Returns:
        The image, int16 (H, W, D, 4) in the order FLAIR, T1w, T1gd, T2w, and the label map, uint8 (H, W, D).
    """
    plan, body, shape, scan = (np.random.default_rng([seed, index, part]) for part in parts)
    gliomas = plan_gliomas(plan)
    place = random_place(body, grid)
    anatomy = fold(body, make_anatomy(body, place, [glioma.push for glioma in gliomas], grid), grid)
    tumours = draw_gliomas(shape, gliomas, anatomy, grid)
    kept, margin, fat = skull_remains(body, anatomy, grid)
    if body.random() < CUT_BELOW_SHARE:
        kept = kept & (place[2] > body.uniform(*CUT_BELOW_MM))
    shares = _shares(body, anatomy, tumours, margin, fat, grid)
    return _image(scan, shares, tumours, kept, grid), np.where(kept, tumours.label, 0).astype(np.uint8)


def _shares(
    rng: np.random.Generator, anatomy: Anatomy, tumours: Tumours, margin: Volume, fat: Volume, grid: Grid
) -> dict[str, Volume]:
    """Share of every tissue in every voxel, each (H, W, D), summing to 1 in the head."""
    shares = {"grey": anatomy.grey, "white": anatomy.white, "fluid": anatomy.fluid}
    sick = {
        "edema": tumours.edema,
        "solid": tumours.solid,
        "necrosis": tumours.necrosis,
        "enhancing": tumours.enhancing,
    }
    for name, share in (*mimics(rng, anatomy, grid).items(), ("margin", margin)):
        shares = {other: value * (1 - share) for other, value in shares.items()}
        shares[name] = shares.get(name, 0) + share
    healthy = 1 - sum(sick.values())
    return {**{name: share * healthy for name, share in shares.items()}, **sick, "fat": fat}


def _image(
    rng: np.random.Generator, shares: dict[str, Volume], tumours: Tumours, kept: Mask, grid: Grid
) -> NDArray[np.int16]:
    """The four sequences, int16 (H, W, D, 4)."""
    means = draw_means(rng)
    lesion = tumours.edema + tumours.solid + tumours.necrosis + tumours.enhancing
    common = smooth_field(rng, grid, 7.0) + smooth_field(rng, grid, 14.0)
    rough_lesion, rough_brain = rng.uniform(0.02, 0.12), rng.uniform(0.01, 0.05)
    # Fluid that flows is not suppressed: in many patients it shines in FLAIR, here and there.
    flow = rng.uniform(0.0, 0.5) * np.clip(smooth_field(rng, grid, 20.0) - 0.5, 0, 2)
    # Cortex is not the same everywhere: that of insula and cingulum is often brighter in FLAIR than the rest.
    cortex = rng.uniform(0.0, 0.25) * smooth_field(rng, grid, 25.0)
    image = np.zeros((*grid.shape, 4), np.int16)
    for modality in range(4):
        signal = sum(share * np.float32(means[name][modality]) for name, share in shares.items())
        if modality == FLAIR:
            signal += shares["fluid"] * flow + shares["grey"] * cortex
        own = smooth_field(rng, grid, 9.0)
        signal *= np.maximum(1 + lesion * np.float32(rough_lesion) * (common + own), np.float32(0.3))
        signal *= 1 + np.float32(rough_brain) * (smooth_field(rng, grid, 5.0) + smooth_field(rng, grid, 10.0))
        image[..., modality] = acquire(rng, plan_sequence(rng), np.maximum(signal, 0), kept, grid)
    return image
