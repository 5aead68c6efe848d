"""What the panel does to one slice: what MONAI's transforms do to its volume, in the order of a training chain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from monai.transforms import AdjustContrast, RandGaussianNoise, ScaleIntensity, ShiftIntensity
from numpy.typing import NDArray
from scripts.errors import InputError
from torch.nn import functional

# Display columns of a slice, which the panel's flip mirrors.
COLUMNS = 1


@dataclass(frozen=True)
class Effects:
    """One setting of every transform; the defaults change nothing.

    Attributes:
        degrees: rotation in the plane of the slice.
        magnification: above 1 the brain gets larger.
        flip: mirror the columns.
        gain: intensities are multiplied by 1 + gain (MONAI's ``factor``).
        shift: then this much is added, in standard deviations of the brain.
        gamma: then the contrast is bent, over the range of the whole volume.
        noise: then Gaussian noise of this standard deviation is added.
        seed: of the noise.
    """

    degrees: float = 0.0
    magnification: float = 1.0
    flip: bool = False
    gain: float = 0.0
    shift: float = 0.0
    gamma: float = 1.0
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("magnification", "gamma"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} is {getattr(self, name)}, but a positive number is wanted; correct it.")
        if self.noise < 0:
            raise InputError(f"noise is {self.noise}, but a standard deviation is not negative; correct it.")


def move(
    image: NDArray[np.float32], masks: NDArray[np.uint8], effects: Effects, steps_mm: tuple[float, float] = (1.0, 1.0)
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Rotate, magnify and flip a slice and what is drawn on it; on square pixels the same as MONAI's ``Affine``.

    PyTorch's sampler is called here, as MONAI calls it: its dictionary of traces costs ten times what a slice does.

    Args:
        image: (rows, columns); interpolated linearly.
        masks: (rows, columns), ids; by nearest neighbour, so that no new id appears.
        effects: the setting.
        steps_mm: distance of rows and of columns: millimetres turn, so that oblong voxels do not shear.

    Returns:
        Both, in the shapes that they came in; 0 comes in from outside.
    """
    picture, drawn = torch.from_numpy(image), torch.from_numpy(masks)
    if effects.degrees or effects.magnification != 1:
        angle = np.deg2rad(effects.degrees)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        # From the output's place to the input's: a smaller step there is a larger brain here. The sampler measures in
        # half sides, columns first.
        half_mm = np.multiply(steps_mm, np.subtract(image.shape, 1)) / 2
        matrix = (turn * half_mm[None] / half_mm[:, None] / effects.magnification)[::-1, ::-1]
        theta = torch.from_numpy(np.concatenate([matrix, np.zeros((2, 1))], axis=1)[None]).float()
        grid = functional.affine_grid(theta, [1, 1, *image.shape], align_corners=True)
        picture = functional.grid_sample(picture[None, None], grid, mode="bilinear", align_corners=True)[0, 0]
        drawn = functional.grid_sample(drawn[None, None].float(), grid, mode="nearest", align_corners=True)[0, 0]
    if effects.flip:
        picture, drawn = picture.flip(COLUMNS), drawn.flip(COLUMNS)
    return picture.numpy(), drawn.to(torch.uint8).numpy()


def change_intensity(
    image: NDArray[np.float32], effects: Effects, value_range: tuple[float, float]
) -> NDArray[np.float32]:
    """Gain, shift, gamma and noise of a slice, as MONAI's transforms make them of the whole volume.

    Args:
        image: (rows, columns).
        effects: the setting.
        value_range: smallest and largest value of the volume that the slice was cut from.
    """
    # AdjustContrast bends values between the smallest and the largest that it sees. A row of the volume's own extremes
    # goes along, so that a slice is bent as its volume would be.
    extremes = np.resize(np.asarray(value_range, np.float32), (1, image.shape[1]))
    picture = torch.from_numpy(np.concatenate([image, extremes]))[None]
    if effects.gain:
        picture = ScaleIntensity(minv=None, maxv=None, factor=effects.gain)(picture)
    if effects.shift:
        picture = ShiftIntensity(offset=effects.shift)(picture)
    if effects.gamma != 1:
        picture = AdjustContrast(gamma=effects.gamma)(picture)
    picture = picture[:, :-1]
    if effects.noise:
        noisy = RandGaussianNoise(prob=1.0, std=effects.noise, sample_std=False).set_random_state(seed=effects.seed)
        picture = noisy(picture)
    return np.asarray(picture[0], np.float32)
