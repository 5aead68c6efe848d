"""Claim: a training patch augmented as nnU-Net does it, with its effects, probabilities and ranges, costs at least ten
times less CPU from the store than in nnU-Net's own pipeline.

    pip install -r requirements/bench.txt
    python benchmarks/augmentation.py [--rounds N] [--json FILE]

nnU-Net's side is what its trainer composes (``get_training_transforms``, with the mask that BraTS's normalisation
sets) and starts from a float32 patch in memory, already cropped to the margin that a rotation needs; ours
(configs/recipe/augment.json) starts from the store's int16 volume. Both give 4 x 128 x 128 x 128 float32 and labels.
The two that differ: ours has noise for each channel, which is more to draw, nnU-Net one field for all; and ours
magnifies by 0.7 to 1.4, nnU-Net by the inverse of that. The voxels are noise in an ellipsoid, with a blank around it.
Checked, each with the same numbers: every effect by itself, and all but the noise one after the other, against
batchgeneratorsv2. The rows are the costs of single effects on all channels, ours with the care for the blank.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import timing
import torch
from scripts import compiled, intensity
from scripts.gather import gather
from scripts.intensity_draw import Intensity
from scripts.patches import PatchRecipe, locate_classes

try:
    from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
    from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
    from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
except ImportError:
    nnUNetTrainer = None

PATCH_SIZE = (128, 128, 128)
# A brain box at 1 mm.
VOLUME = (141, 173, 137)
CHANNELS = 4
# Voxels; nnU-Net's range.
BLUR_SIGMA = (0.5, 1.0)
RADIANS = (-np.pi / 6, np.pi / 6)
# The effects come by chance: a round takes the mean of this many patches.
THEIR_PATCHES, OUR_PATCHES = 20, 80


def brain(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """An ellipsoid of noise in its box, int16 (H, W, D, C), and random labels in it, uint8 (H, W, D)."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in VOLUME), indexing="ij"))
    inside = (grid**2).sum(0) < 1
    image = rng.normal(0, 6000, (*VOLUME, CHANNELS)).clip(-32000, 32000).astype(np.int16) * inside[..., None]
    return torch.from_numpy(image), torch.from_numpy(rng.integers(0, 4, VOLUME).astype(np.uint8) * inside)


def their_patch(image: torch.Tensor, label: torch.Tensor, unit: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The middle of the volume as nnU-Net's loader hands it on: padded, float32 (C, ...), outside of the brain -1."""
    size = get_patch_size(PATCH_SIZE, RADIANS, RADIANS, RADIANS, (0.85, 1.25))
    patch, ids = torch.zeros(CHANNELS, *size), torch.full((1, *size), -1, dtype=torch.int16)
    low = [(n - m) // 2 for n, m in zip(size, VOLUME, strict=True)]
    place = (slice(None), *(slice(a, a + m) for a, m in zip(low, VOLUME, strict=True)))
    patch[place] = image.permute(3, 0, 1, 2).float() * unit
    ids[place] = torch.where((image != 0).any(-1), label.to(torch.int16), -1)[None]
    return patch, ids


def their_effects(drawn: Intensity) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """batchgeneratorsv2's transforms with the numbers of ``drawn``, each on a patch (C, ...), in nnU-Net's order."""

    def single(values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float32)

    every, all_of = torch.arange(CHANNELS), torch.ones(CHANNELS, dtype=torch.bool)
    blurred, coarse = drawn.blur_sigma.any(1), np.flatnonzero(drawn.resolution != 1)
    blur = GaussianBlurTransform(BLUR_SIGMA, False, False, 0.5, benchmark=True)
    brightness = MultiplicativeBrightnessTransform((0.75, 1.25), False)
    contrast = ContrastTransform((0.75, 1.25), True, False)
    low_resolution = SimulateLowResolutionTransform((0.5, 1), False, True, None, None, 0.5)
    gamma = GammaTransform((0.7, 1.5), 0, False, 1, 1)
    scales = single(drawn.resolution[coarse])[:, None].expand(-1, 3)
    curve: dict[str, Any] = {"apply_to_channel": every, "retain_stats": all_of}
    return {
        "blur": lambda x: blur._apply_to_image(
            x, apply_to_channel=torch.from_numpy(blurred), sigmas=drawn.blur_sigma[blurred].tolist()
        ),
        "brightness": lambda x: brightness._apply_to_image(
            x, apply_to_channel=every, multipliers=single(drawn.brightness)
        ),
        "contrast": lambda x: contrast._apply_to_image(x, apply_to_channel=every, multipliers=single(drawn.contrast)),
        "low resolution": lambda x: low_resolution._apply_to_image(x, apply_to_channel=coarse, scales=scales),
        "inverted gamma": lambda x: gamma._apply_to_image(
            x, invert_image=all_of, gamma=single(drawn.inverted_gamma), **curve
        ),
        "gamma": lambda x: gamma._apply_to_image(x, invert_image=~all_of, gamma=single(drawn.gamma), **curve),
    }


def settle_blurs(pipeline: ComposeTransforms) -> None:
    """Let the blur of nnU-Net's pipeline choose between convolution and FFT, as it does once in a process.

    It times both at the first kernel of a size; the ends of the range have all the sizes that it tells apart, 3 and 5.
    """
    (blur,) = (
        t.transform for t in pipeline.transforms if isinstance(getattr(t, "transform", 0), GaussianBlurTransform)
    )
    for sigma in BLUR_SIGMA:
        blur._apply_to_image(torch.rand(1, *PATCH_SIZE), apply_to_channel=torch.ones(1), sigmas=[[sigma] * 3])


def our_effects(drawn: Intensity) -> dict[str, Intensity]:
    """``drawn`` taken apart: one effect each, under the names of :func:`their_effects`."""
    ones = np.ones(CHANNELS)
    nothing = Intensity(
        0.0, 0, np.zeros((CHANNELS, 3)), ones, ones, ones, ones, ones, dropped=np.zeros(CHANNELS, dtype=bool)
    )
    attributes = {
        "blur": "blur_sigma",
        "brightness": "brightness",
        "contrast": "contrast",
        "low resolution": "resolution",
        "inverted gamma": "inverted_gamma",
        "gamma": "gamma",
    }
    return {name: replace(nothing, **{key: getattr(drawn, key)}) for name, key in attributes.items()}


def check(patch: torch.Tensor) -> dict[str, str]:
    """Largest differences from batchgeneratorsv2, in standard deviations, on a patch (h, w, d, C) with a blank of 0."""
    recipe = PatchRecipe(
        PATCH_SIZE, blur_prob=1, brightness_prob=1, contrast_prob=1, low_resolution_prob=1, inverted_gamma_prob=1,
        gamma_prob=1,
    )  # fmt: skip
    drawn = recipe.draw_intensity(np.random.default_rng(2), CHANNELS)
    blank = np.zeros(CHANNELS)
    inside = (patch != 0).any(-1)
    theirs, differences, in_turn = their_effects(drawn), {}, patch.permute(3, 0, 1, 2).contiguous()
    # What is compared is the brain: nnU-Net clears the blank once, after the last effect.
    for name, one in our_effects(drawn).items():
        ours = patch.clone()
        intensity.change(ours, one, blank)
        wanted = theirs[name](patch.permute(3, 0, 1, 2).contiguous()).permute(1, 2, 3, 0)
        differences[name] = float((ours - wanted)[inside].abs().max())
        in_turn = theirs[name](in_turn)
    ours = patch.clone()
    intensity.change(ours, drawn, blank)
    differences["all in turn"] = float((ours - in_turn.permute(1, 2, 3, 0) * inside[..., None]).abs().max())
    if (worst := max(differences.values())) > 1e-3:
        raise SystemExit(f"an effect differs from batchgeneratorsv2's by {worst:.1e} standard deviations")
    noisy = patch.clone()
    intensity.change(noisy, replace(our_effects(drawn)["blur"], blur_sigma=np.zeros((4, 3)), noise_std=0.1), blank)
    noise = (noisy - patch)[inside].double() / 0.1
    moments = [float(noise.mean()), float(noise.std()), float((noise**3).mean()), float((noise**4).mean())]
    if not np.allclose(moments, (0, 1, 0, 3), atol=0.02):
        raise SystemExit(f"the noise has the moments {moments}, not those of a normal distribution")
    shown = {f"{name}, difference in standard deviations": f"{value:.1e}" for name, value in differences.items()}
    return shown | {"noise, its first four moments": ", ".join(f"{value:.3f}" for value in moments)}


def recipe_of_the_bundle() -> PatchRecipe:
    """configs/recipe/augment.json."""
    file = timing.ROOT / "bundle" / "configs" / "recipe" / "augment.json"
    return PatchRecipe(PATCH_SIZE, **json.loads(file.read_text(encoding="utf-8")))


def main() -> None:
    """Measure and print."""
    options = timing.arguments(__doc__, rounds=9).parse_args()
    if nnUNetTrainer is None:
        raise SystemExit("nnU-Net is not installed; pip install -r requirements/bench.txt")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)
    rng = np.random.default_rng(0)
    image, label = brain(rng)
    units = np.full(CHANNELS, 1 / 6000)
    locations = locate_classes(label.numpy())
    recipe = recipe_of_the_bundle()
    out, ids = torch.empty(*PATCH_SIZE, CHANNELS), torch.empty(PATCH_SIZE, dtype=torch.uint8)
    their_image, their_label = their_patch(image, label, units[0])
    pipeline = nnUNetTrainer.get_training_transforms(
        PATCH_SIZE, RADIANS, None, (0, 1, 2), False, use_mask_for_norm=[True] * CHANNELS
    )
    settle_blurs(pipeline)

    def ours(recipe: PatchRecipe) -> None:
        draw = recipe.draw(rng, label.shape, CHANNELS, locations)
        gather(image, label, draw, draw.gain * units, out, ids)

    ours(PatchRecipe(PATCH_SIZE, tumour_crops=0, gain=0, shift=0))
    checks = {"compiled kernels": "yes" if compiled.library("intensity") else "no C compiler here: PyTorch"}
    checks |= check(out.clone())
    plain = PatchRecipe(PATCH_SIZE)
    sides = {
        "nnU-Net, its training transforms": lambda: pipeline(image=their_image, segmentation=their_label),
        "ours, the same effects": lambda: ours(recipe),
        "ours, crop, flips, gain and shift alone": lambda: ours(plain),
    }
    repeats = dict(zip(sides, (THEIR_PATCHES, OUR_PATCHES, OUR_PATCHES), strict=True))
    timings = timing.interleave(sides, options.rounds, repeats=repeats)
    nnunet, augmented, _ = timings.values()
    rows = dict(time_effect(name, out) for name in our_effects(middle_draw()))
    timing.finish({"nnU-Net/ours": timing.ratio(nnunet, augmented)}, timings, checks, options.json, rows=rows)


def middle_draw() -> Intensity:
    """Every effect on every channel, in the middle of its range."""
    ones = np.ones(CHANNELS)
    return Intensity(
        0.0, 0, np.full((CHANNELS, 3), 0.75), 1.1 * ones, 1.1 * ones, 0.75 * ones, 1.1 * ones, 1.1 * ones,
        np.zeros(CHANNELS, bool),
    )  # fmt: skip


def time_effect(name: str, patch: torch.Tensor) -> tuple[str, dict[str, float]]:
    """CPU milliseconds of one effect on all channels of a patch (h, w, d, C), theirs and ours.

    Their blur chooses between convolution and FFT in the round that is not measured.
    """
    theirs, ours, blank = their_effects(middle_draw())[name], our_effects(middle_draw())[name], np.zeros(CHANNELS)
    first = patch.permute(3, 0, 1, 2).contiguous()
    sides = {"nnU-Net": lambda: theirs(first), "ours": lambda: intensity.change(patch, ours, blank)}
    medians = {side: 1000 * found.median_cpu_s for side, found in timing.interleave(sides, rounds=3).items()}
    return name, {"nnU-Net, CPU ms": medians["nnU-Net"], "ours, CPU ms": medians["ours"]}


if __name__ == "__main__":
    main()
