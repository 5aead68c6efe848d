"""What the viewer shows: a case from files or arrays, every volume on one grid in RAS order, with its scores."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray

from scripts.errors import InputError
from scripts.labels import SCHEMES, Scheme, detect_scheme, get_scheme, labels_to_regions, unknown_values
from scripts.metrics import region_dice
from scripts.naming import MODALITIES
from scripts.readers import NiftiReader
from scripts.slices import brain_box
from scripts.survey import AUTO
from scripts.validate import AFFINE_TOLERANCE_MM
from scripts.viewer_source import Source, find_source

Volume = Any  # a numpy array, or a tensor on the CPU; MetaTensors bring their affine
Images = Mapping[str, Any] | Sequence[str | os.PathLike[str]] | str | os.PathLike[str] | Source


@dataclass(frozen=True)
class ViewedCase:
    """One case on one grid; (H, W, D) runs towards the patient's right, front and head.

    Attributes:
        images: modality name to intensities (H, W, D), of whatever type they were stored in.
        truth: label ids, uint8 (H, W, D), or None.
        prediction: the same, or None.
        scheme: what the ids mean; None where there are none.
        affine: voxel index to RAS millimetres, (4, 4).
        file_affine: that of the grid that the case was given on.
        title: the case's name.
    """

    images: dict[str, NDArray[Any]]
    truth: NDArray[np.uint8] | None
    prediction: NDArray[np.uint8] | None
    scheme: Scheme | None
    affine: NDArray[np.float64]
    file_affine: NDArray[np.float64]
    title: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along H, W, D."""
        return next(iter(self.images.values())).shape

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along H, W, D."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return (x, y, z)

    @property
    def maps(self) -> dict[str, NDArray[np.uint8]]:
        """The label maps that are there, by the names ``truth`` and ``prediction``."""
        both = {"truth": self.truth, "prediction": self.prediction}
        return {name: volume for name, volume in both.items() if volume is not None}

    def volumes_ml(self) -> dict[str, dict[str, float]]:
        """Millilitres of each region in each label map that is there."""
        if self.scheme is None:
            return {}
        voxel_ml = float(np.prod(self.spacing_mm)) / 1000
        volumes = {}
        for name, labels in self.maps.items():
            counts = np.bincount(labels.ravel(order="K"), minlength=256)
            volumes[name] = {
                region: float(counts[list(ids)].sum()) * voxel_ml for region, ids in self.scheme.regions.items()
            }
        return volumes

    def dice(self) -> dict[str, float]:
        """Dice of each region as an evaluation counts it; empty where truth or prediction is missing."""
        if self.scheme is None or self.truth is None or self.prediction is None:
            return {}
        regions = tuple(self.scheme.regions)
        # What is background in both changes no Dice, and is most of a volume.
        box = brain_box(self.prediction | self.truth, self.spacing_mm)
        masks = [
            labels_to_regions(torch.from_numpy(np.ascontiguousarray(labels[box]))[None, None], self.scheme, regions)
            for labels in (self.prediction, self.truth)
        ]
        return dict(zip(regions, region_dice(*masks)[0].tolist(), strict=True))


def load_viewed_case(
    images: Images,
    label: Volume | str | os.PathLike[str] | None = None,
    prediction: Volume | str | os.PathLike[str] | None = None,
    label_scheme: str = AUTO,
    affine: NDArray[Any] | None = None,
    modalities: Sequence[str] | None = None,
    title: str = "",
) -> ViewedCase:
    """Bring a case onto one grid in RAS order.

    Args:
        images: name to volume (H, W, D) or to file; one array or tensor (C, H, W, D); a 4-D file; a file a modality; a
            folder of one case; or a source that was found before.
        label: label ids (H, W, D) or (1, H, W, D), or their file; None takes the one that lies with ``images``, if any.
        prediction: the same of a model, on the grid of the images.
        label_scheme: what the ids mean; ``auto`` reads it from dataset.json, the file names or the values.
        affine: voxel index to millimetres of arrays; None takes a MetaTensor's own, else voxels of 1 mm in RAS order.
        modalities: names of the channels; None takes the data set's own.
        title: None or empty takes the case's name.

    Raises:
        InputError: a file is absent or damaged, grids differ, or label ids are not in the scheme.
    """
    source = images if isinstance(images, Source) else None
    if isinstance(images, str | os.PathLike | list | tuple):
        source = find_source(images, modalities)
    if source is not None:
        volumes, affine = _read_source(source)
        label = source.label if label is None else label
    else:
        volumes, affine = _as_volumes(images, modalities, affine)
    shapes = {name: volume.shape for name, volume in volumes.items()}
    shape = next(iter(shapes.values()))
    if wrong := {name: found for name, found in shapes.items() if found != shape or len(found) != 3}:
        name, found = next(iter(wrong.items()))
        raise InputError(
            f"modality {name} has shape {found}, but a volume of {shape[:3]} voxels was wanted; give every modality as "
            "(H, W, D) on one grid."
        )
    truth = _read_labels(label, "label", shape, affine)
    predicted = _read_labels(prediction, "prediction", shape, affine)
    scheme = _choose_scheme(label_scheme, {"label": truth, "prediction": predicted}, source)
    turn = nib.orientations.io_orientation(affine)
    ras_affine = affine @ nib.orientations.inv_ornt_aff(turn, shape)

    def to_ras(volume: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if volume is None else nib.orientations.apply_orientation(volume, turn)

    return ViewedCase(
        images={name: to_ras(volume) for name, volume in volumes.items()},
        truth=to_ras(truth),
        prediction=to_ras(predicted),
        scheme=scheme,
        affine=ras_affine,
        file_affine=affine,
        title=title or (source.name if source else ""),
    )


def _read_source(source: Source) -> tuple[dict[str, NDArray[Any]], NDArray[np.float64]]:
    """Modality name to voxels in the file's order, and the affine."""
    for file in source.images:
        _refuse_absent(file)
    tensor, meta = NiftiReader().get_data(tuple(map(str, source.images)))
    stored = np.nan_to_num(tensor.numpy(), copy=False)
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
    return dict(zip(names, channels, strict=True)), np.asarray(meta["affine"], np.float64)


def _as_volumes(
    images: Any, modalities: Sequence[str] | None, affine: NDArray[Any] | None
) -> tuple[dict[str, NDArray[Any]], NDArray[np.float64]]:
    """The same from arrays, tensors or a mapping of them or of files."""
    if not isinstance(images, Mapping):
        names = tuple(modalities or MODALITIES)
        shape = tuple(getattr(images, "shape", ()))
        if len(shape) != 4 or shape[0] != len(names):
            raise InputError(
                f"images has shape {shape}, but (C, H, W, D) with the {len(names)} channels {', '.join(names)} was "
                "wanted; set modalities to one name a channel, or give a mapping of name to volume."
            )
        own = getattr(images, "affine", None)
        images = {name: images[index] for index, name in enumerate(names)}
        affine = own if affine is None else affine
    if not images:
        raise InputError("images is empty; give at least one modality, as in {'T1gd': volume}.")
    volumes = {}
    for name, volume in images.items():
        if isinstance(volume, str | os.PathLike):
            _refuse_absent(Path(volume))
            tensor, meta = NiftiReader().get_data((str(volume),))
            affine = meta["affine"] if affine is None else affine
            volume = tensor
        elif affine is None:
            affine = getattr(volume, "affine", None)
        volumes[str(name)] = np.nan_to_num(_as_array(volume))
    return volumes, np.eye(4) if affine is None else np.asarray(affine, np.float64)


def _as_array(volume: Volume) -> NDArray[Any]:
    return volume.detach().cpu().numpy() if isinstance(volume, torch.Tensor) else np.asarray(volume)


def _read_labels(
    labels: Volume | str | os.PathLike[str] | None,
    what: str,
    shape: tuple[int, ...],
    affine: NDArray[np.float64],
) -> NDArray[np.uint8] | None:
    """Label ids on the images' grid, uint8 (H, W, D)."""
    if labels is None:
        return None
    shown, wanted = what, f"the images have {_times(shape)} voxels"
    if isinstance(labels, str | os.PathLike):
        shown = str(labels)
        _refuse_absent(Path(labels))
        tensor, meta = NiftiReader().get_data((shown,))
        ids = tensor.numpy()
        difference = float(np.abs(np.asarray(meta["affine"]) - affine).max())
        if ids.shape[:3] == shape and difference > AFFINE_TOLERANCE_MM:
            raise InputError(
                f"{shown}: its affine differs from that of the images by up to {difference:.3g} mm; resample the "
                f"{what} to their grid."
            )
    else:
        ids = _as_array(labels)
    if ids.ndim == 4 and 1 in (ids.shape[0], ids.shape[-1]):
        ids = ids[0] if ids.shape[0] == 1 else ids[..., 0]
    if ids.shape != shape:
        raise InputError(
            f"{shown}: the {what} has {_times(ids.shape)} voxels, but {wanted}; give a label map on the images' grid."
        )
    if ids.dtype != np.uint8:
        low, high = float(ids.min()), float(ids.max())
        if low < 0 or high > 255 or (ids.dtype.kind == "f" and not np.array_equal(ids, np.rint(ids))):
            raise InputError(
                f"{shown}: the {what} holds values from {low:g} to {high:g}, but whole label ids were wanted; give a "
                "label map, not an image or probabilities."
            )
    return ids.astype(np.uint8)


def _choose_scheme(name: str, maps: Mapping[str, NDArray[np.uint8] | None], source: Source | None) -> Scheme | None:
    """The scheme asked for or detected, every id in it."""
    ids = {what: np.flatnonzero(np.bincount(m.ravel(order="K"))).tolist() for what, m in maps.items() if m is not None}
    if not ids:
        return None
    seen = {value for values in ids.values() for value in values}
    naming = source.naming if source else None
    if name != AUTO:
        scheme = get_scheme(name)
    elif naming in SCHEMES and not unknown_values(seen, SCHEMES[naming]):
        # The names of one case are surer than its values: a case without enhancing tumour has no 4.
        scheme = SCHEMES[naming]
    else:
        scheme = get_scheme(detect_scheme(seen, source.declared_labels if source else None, naming))
    for what, values in ids.items():
        if unknown := unknown_values(values, scheme):
            raise InputError(
                f"the {what} holds the ids {', '.join(map(str, unknown))}, which scheme '{scheme.name}' does not have "
                f"(0, {', '.join(map(str, scheme.labels))}); set label_scheme to the data's own or mend the file."
            )
    return scheme


def _refuse_absent(file: Path) -> None:
    if not file.is_file():
        raise InputError(f"{file}: there is no such file; check the path.")


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
