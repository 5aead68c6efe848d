"""A case as slices for the eye: volumes in one orientation, the slice worth showing, and which way round it lies."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from scripts.errors import InputError
from scripts.labels import Scheme

# Plane to the axis of a (H, W, D) volume that it is cut across.
PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}
# What lies at the left, right, top and bottom edge of a slice: Right, Left, Anterior, Posterior, Superior, Inferior.
EDGES = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}
CONVENTION = "Radiological display: the patient's right is on the left of axial and coronal slices."
# Enhancement shows in T1gd, edema in FLAIR; other modalities stand in only where these are not there.
BACKGROUNDS = ("T1gd", "FLAIR")
# Room for the letters at the edges.
MARGIN_MM = 8.0


@dataclass(frozen=True)
class CaseVolumes:
    """One case with every volume in RAS order: (H, W, D) runs towards the patient's right, front and head.

    Attributes:
        images: modality name to intensities, float32 (H, W, D).
        truth: label ids (H, W, D), or None.
        prediction: label ids (H, W, D).
        spacing_mm: voxel size along H, W, D.
    """

    images: dict[str, np.ndarray]
    truth: np.ndarray | None
    prediction: np.ndarray
    spacing_mm: tuple[float, float, float]


def load_case(
    image_paths: Sequence[Path], truth: Path | None, prediction: Path, modalities: Sequence[str]
) -> CaseVolumes:
    """Read the modalities to show, the truth and the prediction of a case.

    Args:
        image_paths: one 4-D file (H, W, D, C), a 3-D file for a single modality, or one 3-D file a modality.
        truth: label volume, or None.
        prediction: label volume.
        modalities: names of the channels.

    Raises:
        InputError: a file is absent, unreadable, on another grid or short of channels.
    """
    shown = [name for name in BACKGROUNDS if name in modalities] or list(modalities[:2])
    channels = {name: modalities.index(name) for name in shown}
    if len(image_paths) == 1:
        file = Path(image_paths[0])
        volumes = {name: read_ras(file, channel) for name, channel in channels.items()}
    else:
        if len(image_paths) != len(modalities):
            raise InputError(
                f"{image_paths[0]}: the case has {len(image_paths)} image files, {len(modalities)} modalities were "
                "wanted; list one 4-D file or one file a modality."
            )
        volumes = {name: read_ras(Path(image_paths[channel])) for name, channel in channels.items()}
    first, spacing_mm = next(iter(volumes.values()))
    labels = {file: read_ras(file)[0].round().astype(np.uint8) for file in (truth, prediction) if file is not None}
    for file, label in labels.items():
        if label.shape != first.shape:
            raise InputError(
                f"{file}: has {label.shape} voxels, its image {image_paths[0]} has {first.shape}; evaluate again."
            )
    images = {name: volume for name, (volume, _) in volumes.items()}
    return CaseVolumes(images, None if truth is None else labels[truth], labels[prediction], spacing_mm)


def read_ras(file: Path, channel: int = 0) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Read one volume and turn it to RAS order by its affine.

    Args:
        file: NIfTI of shape (H, W, D) or (H, W, D, C).
        channel: which of the C; a 3-D file has only channel 0.

    Returns:
        float32 (H, W, D) along the patient's right, front and head, and its voxel size in mm.

    Raises:
        InputError: the file is absent, unreadable or has no such channel.
    """
    try:
        image = nib.load(file)
        fits = channel < image.shape[3] if len(image.shape) == 4 else channel == 0 and len(image.shape) == 3
        if not fits:
            raise InputError(
                f"{file}: has shape {image.shape}, a volume with channel {channel} was wanted; evaluate again."
            )
        image = nib.as_closest_canonical(image.slicer[..., channel] if len(image.shape) == 4 else image)
        volume = np.nan_to_num(np.asarray(image.dataobj, dtype=np.float32))
    except FileNotFoundError as error:
        raise InputError(f"{file}: there is no such file; put it back or evaluate again.") from error
    except (OSError, EOFError, zlib.error, ImageFileError) as error:
        raise InputError(f"{file}: cannot be read as NIfTI ({error}); put a whole file there.") from error
    sizes = image.header.get_zooms()
    return volume, (float(sizes[0]), float(sizes[1]), float(sizes[2]))


def plane_slice(volume: np.ndarray, plane: str, index: int) -> np.ndarray:
    """Cut a slice and lay it as radiologists look at it; see ``EDGES``.

    Args:
        volume: (H, W, D) in RAS order.
        plane: ``axial``, ``coronal`` or ``sagittal``.
        index: position along the axis that the plane is cut across.

    Returns:
        (rows, columns), row 0 at the top. Axial and coronal: the patient's right at column 0. Sagittal: the face at
        column 0. Rows run from front to back (axial) or from head to feet.
    """
    return np.flip(np.moveaxis(volume, PLANES[plane], 0)[index]).T


def tumour_slices(guide: np.ndarray, scheme: Scheme) -> dict[str, int]:
    """For each plane the index with the largest tumour area; the middle of the volume where there is no tumour.

    Args:
        guide: label ids (H, W, D).
        scheme: whose WT region is meant by tumour, so that a resection cavity does not choose.
    """
    tumour = np.isin(guide, scheme.regions["WT"])
    chosen = {}
    for plane, axis in PLANES.items():
        areas = tumour.sum(axis=tuple(other for other in range(3) if other != axis))
        chosen[plane] = int(areas.argmax()) if areas.any() else guide.shape[axis] // 2
    return chosen


def brain_box(volume: np.ndarray, spacing_mm: Sequence[float]) -> tuple[slice, slice, slice]:
    """Box around what is not background (0), with a margin; the whole volume where all is background.

    Args:
        volume: intensities (H, W, D) of a skull-stripped image.
        spacing_mm: voxel size, for the margin.
    """
    box = []
    for axis, step in enumerate(spacing_mm):
        filled = np.flatnonzero(volume.any(axis=tuple(other for other in range(3) if other != axis)))
        if not len(filled):
            return (slice(0, volume.shape[0]), slice(0, volume.shape[1]), slice(0, volume.shape[2]))
        margin = round(MARGIN_MM / step)
        box.append(slice(max(int(filled[0]) - margin, 0), min(int(filled[-1]) + 1 + margin, volume.shape[axis])))
    return (box[0], box[1], box[2])
