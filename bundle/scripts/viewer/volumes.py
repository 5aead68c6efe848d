"""Voxels and affines of what the viewer is given: files, arrays or tensors, every image on one grid."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scripts.errors import InputError
from scripts.grids import AFFINE_TOLERANCE_MM, affine_difference_mm
from scripts.naming import MODALITIES
from scripts.readers import NiftiReader
from scripts.viewer.source import Source

Volume = Any  # a numpy array, or a tensor on the CPU; MetaTensors bring their affine
Affine = NDArray[np.float64]


def read_source(source: Source) -> tuple[dict[str, NDArray[Any]], Affine]:
    """Modality name to voxels (H, W, D) in the file's order, and the affine.

    Raises:
        InputError: a file is absent or damaged, or the channels are not those that have names.
    """
    for file in source.images:
        _refuse_absent(file)
    tensor, meta = NiftiReader().get_data(tuple(map(str, source.images)))
    stored = _finite(tensor.numpy(), copy=False)
    if len(source.images) > 1:
        channels = list(stored)
    else:
        channels = [stored] if stored.ndim == 3 else list(np.moveaxis(stored, -1, 0))
    if len(channels) != len(source.modalities):
        if source.named:
            raise InputError(
                f"{source.images[0]}: has {len(channels)} modalities, but the names are "
                f"{', '.join(source.modalities)}; set modalities to one name a channel."
            )
        names: tuple[str, ...] = tuple(f"channel {index}" for index in range(len(channels)))
    else:
        names = source.modalities
    volumes = dict(zip(names, channels, strict=True))
    _refuse_other_shapes(volumes)
    return volumes, _checked(meta["affine"], f"{source.images[0]}: its affine")


def as_volumes(
    images: Any, modalities: Sequence[str] | None, affine: NDArray[Any] | None
) -> tuple[dict[str, NDArray[Any]], Affine]:
    """The same from arrays, tensors or a mapping of them or of files.

    Args:
        images: one array or tensor (C, H, W, D), or name to volume (H, W, D) or to file.
        modalities: names of the C channels.
        affine: of arrays and tensors, (4, 4); None takes a MetaTensor's own. Files have their own.

    Raises:
        InputError: a file is absent or damaged, shapes or affines differ, or an affine maps no volume.
    """
    given = None if affine is None else _checked(affine, "affine")
    if not isinstance(images, Mapping):
        names = tuple(modalities or MODALITIES)
        shape = tuple(getattr(images, "shape", ()))
        if len(shape) != 4 or shape[0] != len(names):
            raise InputError(
                f"images has shape {shape}, but (C, H, W, D) with the {len(names)} channels {', '.join(names)} was "
                "wanted; set modalities to one name a channel, or give a mapping of name to volume."
            )
        given = own_affine(images, "images") if given is None else given
        images = {name: images[index] for index, name in enumerate(names)}
    if not images:
        raise InputError("images is empty; give at least one modality, as in {'T1gd': volume}.")
    volumes: dict[str, NDArray[Any]] = {}
    affines: dict[str, Affine] = {}
    for name, volume in images.items():
        what = f"modality {name}"
        if isinstance(volume, str | os.PathLike):
            array, own = read_file(volume)
            volumes[str(name)] = _finite(array, copy=False)
        else:
            own = own_affine(volume, what) if given is None else given
            volumes[str(name)] = _finite(as_array(volume), copy=True)
        if own is not None:
            affines[str(name)] = own
    _refuse_other_shapes(volumes)
    if not affines:
        return volumes, np.eye(4)
    first, reference = next(iter(affines.items()))
    for name, own in affines.items():
        difference = affine_difference_mm(own, reference)
        if difference > AFFINE_TOLERANCE_MM:
            raise InputError(
                f"modality {name}: its affine differs from that of {first} by up to {difference:.3g} mm; resample it "
                "to that grid."
            )
    return volumes, reference


def read_file(file: str | os.PathLike[str]) -> tuple[NDArray[Any], Affine]:
    """Voxels of one NIfTI file, (H, W, D) or (H, W, D, C), and its affine.

    Raises:
        InputError: it is absent or damaged.
    """
    path = Path(file).expanduser()
    _refuse_absent(path)
    tensor, meta = NiftiReader().get_data((str(path),))
    return tensor.numpy(), _checked(meta["affine"], f"{path}: its affine")


def as_array(volume: Volume) -> NDArray[Any]:
    """The voxels of an array or a tensor."""
    return volume.detach().cpu().numpy() if isinstance(volume, torch.Tensor) else np.asarray(volume)


def own_affine(volume: Volume, what: str) -> Affine | None:
    """The affine that a MetaTensor brings, (4, 4); None where there is none, or the identity of one made without.

    Raises:
        InputError: it maps no volume; ``what`` names the volume.
    """
    own = getattr(volume, "affine", None)
    if own is None:
        return None
    affine = _checked(as_array(own), f"{what}: its affine")
    return None if np.array_equal(affine, np.eye(4)) else affine


def times(shape: Sequence[int]) -> str:
    """A shape as it is read aloud."""
    return " x ".join(map(str, shape))


def _checked(affine: Any, what: str) -> Affine:
    """An affine that maps voxels to a volume, as float64."""
    found = np.asarray(affine.detach().cpu() if isinstance(affine, torch.Tensor) else affine, np.float64)
    if found.shape != (4, 4):
        raise InputError(f"{what} has shape {found.shape}, but (4, 4) was wanted; give voxel index to RAS millimetres.")
    # Axes that lie in one plane have no volume, whatever their unit.
    lengths = np.linalg.norm(found[:3, :3], axis=0)
    if not np.isfinite(found).all() or abs(np.linalg.det(found[:3, :3])) <= 1e-6 * lengths.prod():
        raise InputError(
            f"{what} is {found[:3].tolist()}, but an invertible one was wanted; give voxel index to RAS millimetres."
        )
    return found


def _finite(volume: NDArray[Any], copy: bool) -> NDArray[Any]:
    """Intensities with 0 in place of what is no number: a page's JSON has no infinity."""
    return np.nan_to_num(volume, copy=copy, nan=0.0, posinf=0.0, neginf=0.0)


def _refuse_other_shapes(volumes: Mapping[str, NDArray[Any]]) -> None:
    shape = next(iter(volumes.values())).shape
    for name, volume in volumes.items():
        if volume.shape != shape or volume.ndim != 3:
            raise InputError(
                f"modality {name} has shape {volume.shape}, but a volume of {shape[:3]} voxels was wanted; give every "
                "modality as (H, W, D) on one grid."
            )


def _refuse_absent(file: Path) -> None:
    if not file.is_file():
        raise InputError(f"{file}: there is no such file; check the path.")
