"""What the viewer shows: a case from files or arrays, every volume on one grid in RAS order, with its scores."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray

from scripts.labels import Scheme, labels_to_regions
from scripts.metrics import region_dice
from scripts.slices import brain_box
from scripts.survey import AUTO
from scripts.viewer.labels import choose_scheme, read_labels
from scripts.viewer.source import Source, find_source
from scripts.viewer.volumes import Volume, as_volumes, read_source

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
        affine: voxel index to RAS millimetres of arrays, (4, 4); None takes a MetaTensor's own, else voxels of 1 mm in
            RAS order. Files have their own.
        modalities: names of the channels; None takes the data set's own.
        title: None or empty takes the case's name.

    Raises:
        InputError: a file is absent or damaged, grids differ, or label ids are not in the scheme.
    """
    source = images if isinstance(images, Source) else None
    if isinstance(images, str | os.PathLike | list | tuple):
        source = find_source(images, modalities)
    if source is not None:
        volumes, affine = read_source(source)
        label = source.label if label is None else label
    else:
        volumes, affine = as_volumes(images, modalities, affine)
    shape = next(iter(volumes.values())).shape
    truth = read_labels(label, "label", shape, affine)
    predicted = read_labels(prediction, "prediction", shape, affine)
    scheme = choose_scheme(label_scheme, {"label": truth, "prediction": predicted}, source)
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
