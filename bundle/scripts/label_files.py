"""One label map of any tool: its header, and its ids."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from scripts.errors import InputError, first_line
from scripts.naming import listed
from scripts.volumes import is_one_volume, times, type_problem


def open_label(file: Path) -> SpatialImage:
    """A label map whose header was read: (H, W, D), or (H, W, D, 1) as some tools write it.

    Raises:
        InputError: it cannot be read, or is not one 3-D volume.
    """
    try:
        image = nib.load(file)
    # nibabel, gzip and zlib raise a dozen kinds of error on a damaged file.
    except Exception as error:
        raise _unreadable(file, error) from error
    if not is_one_volume(image.shape):
        raise InputError(f"{file}: has shape {times(image.shape)}, but a 3-D label map is wanted; split the file.")
    return image


def read_ids(file: Path, image: SpatialImage) -> NDArray[np.uint8]:
    """The label ids of a file, (H, W, D).

    Args:
        file: named in messages.
        image: of :func:`open_label`.

    Raises:
        InputError: it cannot be read, or holds something else than whole numbers from 0 to 255.
    """
    if problem := type_problem(image.get_data_dtype()):
        raise InputError(f"{file}: {problem}; give label maps, not colours or complex images.")
    try:
        stored = np.asarray(image.dataobj).reshape(image.shape[:3])
    except Exception as error:
        raise _unreadable(file, error) from error
    with np.errstate(invalid="ignore"):
        ids = stored.astype(np.uint8)
    if foreign := np.unique(stored[ids != stored]).tolist():
        raise InputError(
            f"{file}: a label map holds whole numbers, but here is {listed([f'{value:g}' for value in foreign])}; "
            "give label maps, not probabilities or images."
        )
    return ids


def _unreadable(file: Path, error: Exception) -> InputError:
    reason = first_line(error)
    return InputError(f"{file}: cannot be read ({reason}); restore the file.")
