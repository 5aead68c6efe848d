"""What scanner and archive do to a hard phantom's sequences: coils, thick slices, noise, ghosts, a cut field of view.

Each sequence is acquired on its own: with its own slices, thick in one direction, which were then interpolated to the
common grid, as the BraTS files were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scripts.phantom.anatomy import Grid, Mask, Volume, blur_mm, smooth_field

# In 10 BraTS patients, 29 of 40 sequences were several times smoother along one axis than along the others: 26 from
# foot to head, 2 from front to back, 1 from side to side. Other archives have more of 3-D sequences.
THICK_SHARE, THICK_AXES = 0.6, (0.07, 0.1, 0.83)
THICK_MM = (2.5, 7.0)


@dataclass(frozen=True)
class Sequence:
    """How one sequence of a case is acquired; everything random about it but its fields and noise.

    Attributes:
        slice_axis, slice_mm: direction and thickness of thick slices; 0 mm is a 3-D sequence.
        blur_mm: standard deviation of the blur within a slice.
        shift_mm: (3,) by how much it lies off the other sequences.
        bias: standard deviation of the logarithm of the coils' sensitivity over the head.
        bias_mm: over what distance that changes.
        noise: standard deviation of the noise, white matter in T1 = 1.
        gamma: power that the intensities are raised to.
        ghost: share of the head that appears again, shifted along ``ghost_axis``.
        cut_axis, cut: what the field of view leaves out at the start of an axis, as a share of the grid, or at its end
            if negative; 0 is nothing.
        gain: numbers of a scanner per unit of intensity.
    """

    slice_axis: int
    slice_mm: float
    blur_mm: float
    shift_mm: NDArray[np.float64]
    bias: float
    bias_mm: float
    noise: float
    gamma: float
    ghost: float
    ghost_axis: int
    cut_axis: int
    cut: float
    gain: float


def plan_sequence(rng: np.random.Generator) -> Sequence:
    """Draw a sequence: most are good, some are bad in one way or another."""
    thick, shifted, ghosted, cut = rng.random(4) < (THICK_SHARE, 0.3, 0.15, 0.08)
    return Sequence(
        slice_axis=int(rng.choice(3, p=THICK_AXES)),
        slice_mm=rng.uniform(*THICK_MM) if thick else 0.0,
        blur_mm=rng.uniform(0.0, 1.1),
        shift_mm=rng.uniform(-1.5, 1.5, 3) * shifted,
        bias=rng.uniform(0.01, 0.16),
        bias_mm=rng.uniform(50, 100),
        noise=float(np.exp(rng.uniform(np.log(0.006), np.log(0.07)))),
        gamma=float(np.exp(rng.uniform(-0.3, 0.3))),
        ghost=rng.uniform(0.01, 0.07) * ghosted,
        ghost_axis=int(rng.integers(2)),
        cut_axis=int(rng.integers(3)),
        cut=rng.uniform(0.1, 0.3) * rng.choice((-1, 1)) * cut,
        gain=float(np.exp(rng.uniform(np.log(120), np.log(3000)))),
    )


def acquire(rng: np.random.Generator, sequence: Sequence, signal: Volume, kept: Mask, grid: Grid) -> NDArray[np.int16]:
    """The sequence's numbers, int16 (H, W, D), 0 outside ``kept``.

    Args:
        rng: draws the coils' sensitivity and the noise.
        sequence: of :func:`plan_sequence`.
        signal: intensities of the head, (H, W, D), white matter in T1 = 1.
        kept: what skull stripping kept, (H, W, D).
        grid: of both.
    """
    seen = signal ** np.float32(sequence.gamma)
    seen *= np.exp(sequence.bias * 1.5 * np.clip(smooth_field(rng, grid, sequence.bias_mm), -2, 2))
    if sequence.shift_mm.any():
        seen = ndimage.shift(seen, sequence.shift_mm / grid.spacing_mm, order=1, mode="nearest")
    if sequence.blur_mm > 0.3:
        seen = blur_mm(seen, sequence.blur_mm, grid)
    if sequence.ghost:
        # Every second line of k-space is off: half the field of view away the head shows again.
        seen += sequence.ghost * np.roll(seen, seen.shape[sequence.ghost_axis] // 2, axis=sequence.ghost_axis)
    if sequence.slice_mm > grid.spacing_mm:
        profile, back = _slices(grid, sequence, rng.uniform())
        slices = _noisy(rng, _along(profile, seen, sequence.slice_axis), sequence.noise)
        seen = _along(back, slices, sequence.slice_axis)
    else:
        seen = _noisy(rng, seen, sequence.noise)
    if sequence.cut:
        seen = _cut(seen, sequence)
    numbers = np.clip(np.rint(np.float32(sequence.gain) * seen), 1, 32767)
    return np.where(kept, numbers, 0).astype(np.int16)


def _noisy(rng: np.random.Generator, signal: Volume, sigma: float) -> Volume:
    """Rician noise: modulus of a signal with Gaussian noise in both channels (Gudbjartsson and Patz 1995)."""
    real = signal + np.float32(sigma) * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.hypot(real, np.float32(sigma) * rng.standard_normal(signal.shape, dtype=np.float32))


def _slices(grid: Grid, sequence: Sequence, phase: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Matrices from the voxels of an axis to its slices, (S, N), and back, (N, S).

    A slice weighs what is in it with a Gaussian of its thickness at half height; between slices, linear interpolation.

    Args:
        grid: of the volume.
        sequence: direction and thickness of the slices.
        phase: where the first slice lies, as a share of the thickness.
    """
    voxels = grid.spacing_mm * np.arange(grid.shape[sequence.slice_axis])
    middles = np.arange(sequence.slice_mm * (phase - 1), voxels[-1] + sequence.slice_mm, sequence.slice_mm)
    offsets = (voxels[None, :] - middles[:, None]) / sequence.slice_mm
    profile = np.exp(-4 * np.log(2) * np.square(offsets))
    back = np.clip(1 - np.abs(offsets.T), 0, None)
    return tuple((rows / rows.sum(axis=1, keepdims=True)).astype(np.float32) for rows in (profile, back))


def _along(matrix: NDArray[np.float32], volume: Volume, axis: int) -> Volume:
    """Multiply one axis of a volume by a matrix."""
    return np.moveaxis(np.tensordot(matrix, volume, axes=(1, axis)), 0, axis)


def _cut(seen: Volume, sequence: Sequence) -> Volume:
    """Leave almost nothing beyond the edge of the field of view."""
    index = [slice(None)] * 3
    edge = round(sequence.cut * seen.shape[sequence.cut_axis])
    index[sequence.cut_axis] = slice(edge, None) if edge < 0 else slice(0, edge)
    seen[tuple(index)] *= np.float32(0.05)
    return seen
