"""What a bundle says of its input and output in ``metadata.json``, and an input made after it to warm up with."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import Refusal, StartError

METADATA = "configs/metadata.json"
# A side that the bundle leaves open (*).
FREE_SIDE = 64
# Sides are written as in "32*n" or "2**p*n"; the smallest is that of n = p = 1 (MONAI's bundle specification).
SIDE_EXPRESSION = re.compile(r"[0-9np*+\-() ]{1,64}")


@dataclass(frozen=True)
class Contract:
    """The first network input of the bundle, and what its output channels are called.

    Attributes:
        channels: of the input; None where the metadata do not tell.
        spatial_shape: sides of a smallest input.
        classes: names of the output channels, in their order.
    """

    channels: int | None
    spatial_shape: tuple[int, ...]
    classes: tuple[str, ...]

    @property
    def spatial_dims(self) -> int:
        """2 for pictures, 3 for volumes."""
        return len(self.spatial_shape)

    def refuse_channels(self, found: int) -> None:
        """Refuse an image of another number of channels.

        Raises:
            Refusal: 400.
        """
        if self.channels not in (None, found):
            raise Refusal(
                400, f"The image has {found} channels, but this bundle takes {self.channels}; send all of them."
            )


def read_contract(bundle: Path) -> Contract:
    """Read it from the bundle's metadata.

    Raises:
        StartError: there are no metadata, or they do not describe an input.
    """
    try:
        metadata = json.loads((bundle / METADATA).read_text(encoding="utf-8"))
        formats = metadata["network_data_format"]
        image = next(iter(formats["inputs"].values()))
        shape = tuple(_side(side) for side in image["spatial_shape"])
    except OSError as error:
        raise StartError(f"{METADATA} cannot be read ({error.strerror}); every bundle has one.") from error
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
        raise StartError(
            f"{METADATA} names no network_data_format with an input's spatial_shape ({type(error).__name__}: {error}); "
            "fill it in as the Model Zoo asks."
        ) from error
    if len(shape) not in (2, 3):
        raise StartError(f"{METADATA}: the input has {len(shape)} spatial axes; only 2 and 3 are served.")
    channels = image.get("num_channels")
    output = formats.get("outputs", {}).get("pred", {})
    return Contract(channels if isinstance(channels, int) else None, shape, _classes(output.get("channel_def")))


def _side(side: Any) -> int:
    if isinstance(side, int):
        return side
    if side == "*":
        return FREE_SIDE
    if not SIDE_EXPRESSION.fullmatch(str(side)):
        raise ValueError(f"{side!r} is no side")
    return int(eval(str(side), {"__builtins__": {}}, {"n": 1, "p": 1}))


def _classes(channel_def: Mapping[str, Any] | None) -> tuple[str, ...]:
    if not channel_def:
        return ()
    return tuple(str(channel_def[key]) for key in sorted(channel_def, key=int))


def write_sample(contract: Contract, folder: Path, name: str) -> Path:
    """Write an image such as the bundle takes: a ball of noise in air, at voxels of 1 mm.

    Args:
        contract: the bundle's.
        folder: where to, made if absent.
        name: of the file, without suffix.

    Returns:
        A .nii.gz of a volume, with channels last; a .jpeg of a picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(1, 200, size=(*contract.spatial_shape, contract.channels or 1))
    noise[~_ball(contract.spatial_shape)] = 0
    if contract.spatial_dims == 2:
        from PIL import Image

        path = folder / f"{name}.jpeg"
        # Gray or RGB, which are what JPEG has.
        picture = noise if noise.shape[-1] == 3 else noise[..., 0]
        Image.fromarray(picture.astype(np.uint8)).save(path)
        return path
    import nibabel as nib

    path = folder / f"{name}.nii.gz"
    volume = noise.astype(np.int16)
    nib.save(nib.Nifti1Image(volume if volume.shape[-1] > 1 else volume[..., 0], np.eye(4)), path)
    return path


def _ball(shape: Sequence[int]) -> np.ndarray:
    axes = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    return sum(axis**2 for axis in axes) < 0.8
