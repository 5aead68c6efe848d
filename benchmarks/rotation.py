"""Claim: crop, rotation, scaling, flips and intensity in one gather cost at least ten times less CPU than nnU-Net's
spatial transform alone, with rotation and scaling of every sample.

    pip install -r requirements/bench.txt
    python benchmarks/rotation.py [--rounds N] [--json FILE]

nnU-Net's side starts from a float32 patch in memory, already cropped to the margin that a rotation needs; ours from the
store's int16 volume. Both rotate by up to 30 degrees about each axis and scale by 0.7 to 1.4, both give 4 x 128 x 128 x
64 float32 and the labels. Data are noise: no transform's time depends on the values.
"""

from __future__ import annotations

import numpy as np
import timing
import torch
from scipy.ndimage import map_coordinates
from scripts import compiled
from scripts.gather import gather, placement
from scripts.patches import PatchRecipe, locate_classes

PATCH_SIZE = (128, 128, 64)
# The brain box at 1.5 x 1.5 x 2 mm, with room, so that no side meets the blank around it.
VOLUME = (160, 180, 140)
# What nnU-Net's loader crops for this patch size, so that no rotation looks outside of it.
NNUNET_PATCH = (205, 168, 140)
DEGREES, SCALES = 30.0, (0.7, 1.4)


def nnunet_transform():
    """nnU-Net's own transform with its own ranges, but at every sample; it takes (C, H, W, D)."""
    try:
        from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    except ImportError as error:
        raise SystemExit("nnU-Net is not installed; pip install -r requirements/bench.txt") from error
    angle = (-np.deg2rad(DEGREES), np.deg2rad(DEGREES))
    return SpatialTransform(
        PATCH_SIZE,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_elastic_deform=0,
        p_rotation=1.0,
        rotation=angle,
        p_scaling=1.0,
        scaling=SCALES,
        p_synchronize_scaling_across_axes=1,
        bg_style_seg_sampling=False,
    )


def check(image: torch.Tensor, label: torch.Tensor, recipe: PatchRecipe) -> float:
    """Largest difference from scipy's interpolation, as a share of the largest value."""
    draw = recipe.draw(np.random.default_rng(7), label.shape, 4, {})
    out, ids = torch.empty(*PATCH_SIZE, 4), torch.empty(PATCH_SIZE, dtype=torch.uint8)
    gather(image, label, draw, draw.gain, out, ids)
    origin, linear = placement(draw, PATCH_SIZE)
    voxels = np.stack(np.meshgrid(*map(np.arange, PATCH_SIZE), indexing="ij"), -1) @ linear.T + origin
    wanted = map_coordinates(
        image[..., 1].numpy().astype(float), np.moveaxis(voxels, -1, 0), order=1, mode="grid-constant"
    )
    wanted = wanted * draw.gain[1] + draw.offset[1]
    return float(np.abs(out[..., 1].numpy() - wanted).max() / np.abs(wanted).max())


def main() -> None:
    """Measure and print."""
    options = timing.arguments(__doc__, rounds=9).parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.integers(-8000, 16000, (*VOLUME, 4)).astype(np.int16))
    label = torch.from_numpy(rng.integers(0, 4, VOLUME).astype(np.uint8))
    locations = locate_classes(label.numpy())
    recipe = PatchRecipe(
        PATCH_SIZE, rotate_prob=1.0, rotate_degrees=DEGREES, scale_prob=1.0, scale_range=SCALES, flip_prob=0.5
    )
    transform = nnunet_transform()
    theirs = torch.randn(4, *NNUNET_PATCH)
    their_label = torch.from_numpy(rng.integers(0, 4, (1, *NNUNET_PATCH)).astype(np.int16))
    out, ids = torch.empty(*PATCH_SIZE, 4), torch.empty(PATCH_SIZE, dtype=torch.uint8)

    def ours() -> None:
        draw = recipe.draw(rng, label.shape, 4, locations)
        gather(image, label, draw, draw.gain, out, ids)

    difference = check(image, label, recipe)
    if difference > 1e-3:
        raise SystemExit(f"the gather differs from scipy's interpolation by {difference:.1e} of the largest value")
    sides = {
        "nnU-Net, SpatialTransform": lambda: transform(image=theirs, segmentation=their_label),
        "ours, the whole patch": ours,
    }
    timings = timing.interleave(sides, options.rounds, repeats={"ours, the whole patch": 8})
    checks = {
        "compiled kernel": "yes" if compiled.library("patches") else "no C compiler here: PyTorch",
        "against scipy, share of the largest value": f"{difference:.1e}",
    }
    timing.finish({"nnU-Net/ours": timing.ratio(*timings.values())}, timings, checks, options.json)


if __name__ == "__main__":
    main()
