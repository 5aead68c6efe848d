"""A case as bytes for the eye: cropped to the brain, intensities in 254 steps, label ids as they are.

Intensities lose precision here; volumes and Dice are counted on the whole label maps before. Label ids and the brain's
outline are kept bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.errors import InputError
from scripts.figures import ORANGE, PURPLE, SKY_BLUE, WINDOW_PERCENT, YELLOW
from scripts.labels import REGION_NAMES, Scheme
from scripts.slices import PLANES, brain_box, tumour_slices
from scripts.viewer.case import ViewedCase

# Darkest and brightest step kept, in percent of the brain's voxels: wider than the window that is shown first.
PACKED_PERCENT = (0.05, 99.9)
# Byte 0 is outside of the brain, 1 to 255 are intensities.
STEPS = 254
# A voxel's byte: truth in the lowest three bits, prediction in the next three, then whether it is brain.
PREDICTION_SHIFT, INSIDE_BIT, LARGEST_ID = 3, 64, 7
LAYER_COLOURS = {"WT": SKY_BLUE, "TC": ORANGE, "ET": PURPLE}
OTHER_COLOUR = YELLOW


@dataclass(frozen=True)
class Layer:
    """A part of a label map that can be switched on and off, drawn inside the ones before it.

    Attributes:
        key: short name, ``WT``.
        name: long name.
        ids: label ids that make it up.
        colour: hexadecimal.
    """

    key: str
    name: str
    ids: tuple[int, ...]
    colour: str


@dataclass(frozen=True)
class Packed:
    """Byte volumes of a case in its box.

    Attributes:
        images: modality to uint8 (H, W, D); 0 outside of the brain.
        scales: modality to the intensities of bytes 1 and 255.
        windows: modality to the lowest and highest intensity that are shown at first.
        codes: truth, prediction and brain in one byte, uint8 (H, W, D).
        affine: index in the box to RAS millimetres.
        start: index in the box of the voxel to show first.
    """

    images: dict[str, NDArray[np.uint8]]
    scales: dict[str, tuple[float, float]]
    windows: dict[str, tuple[float, float]]
    codes: NDArray[np.uint8]
    affine: NDArray[np.float64]
    start: tuple[int, int, int]


def layers(scheme: Scheme | None) -> list[Layer]:
    """The regions of a scheme from the outside in, then what lies in no region, each with its colour."""
    if scheme is None:
        return []
    found = [
        Layer(key, _region_name(key, scheme), scheme.regions[key], colour)
        for key, colour in LAYER_COLOURS.items()
        if key in scheme.regions
    ]
    inside = {value for layer in found for value in layer.ids}
    return found + [
        Layer("".join(word[0] for word in name.split()).upper(), name, (value,), OTHER_COLOUR)
        for value, name in scheme.labels.items()
        if value not in inside
    ]


def _region_name(key: str, scheme: Scheme) -> str:
    """What a region is called; in a scheme of one label, what that label is called."""
    return REGION_NAMES[key] if len(scheme.labels) > 1 else next(iter(scheme.labels.values()))


def pack(case: ViewedCase, step: int = 1) -> Packed:
    """Crop, window and quantise a case.

    Args:
        case: the case.
        step: keep every step-th voxel along each axis, images averaged over the block, labels picked.

    Raises:
        InputError: ``step`` is not positive, or a label id is too large to show.
    """
    if step < 1:
        raise InputError(f"step is {step}, but every voxel (1), second (2) or more was wanted; choose 1 or 2.")
    highest = max((int(labels.max()) for labels in case.maps.values()), default=0)
    if highest > LARGEST_ID:
        raise InputError(f"label id {highest} cannot be shown, ids up to {LARGEST_ID} can; mend the label map.")
    brain = brain_mask(case)
    shown = brain.copy()
    for labels in case.maps.values():
        shown |= labels > 0
    box = brain_box(shown, case.spacing_mm)
    sizes = [max((part.stop - part.start) // step, 1) for part in box]
    # Blocks are whole: a rest that does not fill one is air at the edge of the box.
    box = tuple(slice(p.start, min(p.start + n * step, p.stop)) for p, n in zip(box, sizes, strict=True))
    images, scales, windows = {}, {}, {}
    for name, volume in case.images.items():
        images[name], scales[name], windows[name] = _quantise(volume[box], brain[box], step)
    codes = np.where(_picked(brain[box], step), np.uint8(INSIDE_BIT), np.uint8(0))
    for labels, shift in ((case.truth, 0), (case.prediction, PREDICTION_SHIFT)):
        if labels is not None:
            codes |= _picked(labels[box], step) << np.uint8(shift)
    # The centre of a block lies half a block from the centre of its first voxel.
    scale = np.diag([float(step)] * 3 + [1.0])
    scale[:3, 3] = [part.start + (step - 1) / 2 for part in box]
    guide = next((labels for labels in case.maps.values() if labels.any()), brain[..., :0])
    chosen = tumour_slices(guide, case.scheme) if guide.size and case.scheme else {}
    middles = [(part.start + part.stop) // 2 for part in box]
    indices = [chosen.get(plane, middles[axis]) for plane, axis in sorted(PLANES.items(), key=lambda item: item[1])]
    x, y, z = (
        min(max((index - part.start) // step, 0), count - 1)
        for index, part, count in zip(indices, box, codes.shape, strict=True)
    )
    return Packed(images, scales, windows, codes, case.affine @ scale, (x, y, z))


def brain_mask(case: ViewedCase) -> NDArray[np.bool_]:
    """Where any modality is not 0, (H, W, D); everything where the corners are not 0, as in images with their skull."""
    volumes = list(case.images.values())
    ends = np.ix_(*((0, -1) for _ in range(3)))
    if any(volume[ends].any() for volume in volumes):
        return np.ones(case.shape, bool)
    mask = volumes[0] != 0
    for volume in volumes[1:]:
        mask |= volume != 0
    return mask


def _quantise(
    volume: NDArray[Any], brain: NDArray[np.bool_], step: int
) -> tuple[NDArray[np.uint8], tuple[float, float], tuple[float, float]]:
    """Bytes 1 to 255 in the brain, the intensities of the two, and the window to begin with."""
    inside = volume[brain].astype(np.float32)
    if not inside.size:
        inside = np.zeros(1, np.float32)
    low, first, last, high = np.percentile(inside, [PACKED_PERCENT[0], *WINDOW_PERCENT, PACKED_PERCENT[1]]).tolist()
    if high <= low:
        # A modality of one value: any scale shows it.
        low, first, last, high = low - 0.5, low - 0.5, low + 0.5, low + 0.5
    means, brain = _block_means(volume, step), _picked(brain, step)
    steps = np.clip((means - np.float32(low)) * np.float32(STEPS / (high - low)), 0, STEPS)
    return np.where(brain, steps + np.float32(1.5), 0).astype(np.uint8), (low, high), (first, max(last, first + 1e-6))


def _block_means(volume: NDArray[Any], step: int) -> NDArray[np.float32]:
    """Means over blocks of step x step x step voxels."""
    if step == 1:
        return volume.astype(np.float32)
    h, w, d = (max(size // step, 1) for size in volume.shape)
    if min(volume.shape) < step:
        return volume[::step, ::step, ::step].astype(np.float32)
    blocks = volume[: h * step, : w * step, : d * step].reshape(h, step, w, step, d, step)
    return blocks.mean(axis=(1, 3, 5), dtype=np.float32)


def _picked(volume: NDArray[Any], step: int) -> NDArray[Any]:
    """The voxel in the middle of each block."""
    if min(volume.shape) < step:
        return volume[::step, ::step, ::step]
    counts = [size // step for size in volume.shape]
    return volume[tuple(slice(step // 2, step // 2 + (n - 1) * step + 1, step) for n in counts)]
