"""One file of probabilities, as evaluate.json and inference.json write it beside a label map."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from scripts.errors import InputError, first_line

# By which probabilities that were blended of windows, or interpolated, may leave 0 to 1.
ROUNDING = 1e-4


def read_probabilities(file: Path) -> tuple[SpatialImage, NDArray[np.float32]]:
    """A file of probabilities, its header and its values, which are of any shape.

    Raises:
        InputError: it cannot be read, or holds something else than values from 0 to 1, such as logits or NaN.
    """
    try:
        image = nib.load(file)
        values = np.asarray(image.dataobj, dtype=np.float32)
    # nibabel, gzip and zlib raise a dozen kinds of error on a damaged file.
    except Exception as error:
        reason = first_line(error)
        raise InputError(f"{file}: cannot be read ({reason}); predict the case anew.") from error
    if problem := _range_problem(values):
        raise InputError(f"{file}: {problem}, but probabilities are from 0 to 1; predict the case anew.")
    return image, values


def _range_problem(values: NDArray[np.float32]) -> str | None:
    if not values.size:
        return None
    low, high = float(values.min()), float(values.max())
    if np.isnan(low):
        return f"{np.isnan(values).sum()} of its {values.size} values are NaN"
    if low < -ROUNDING or high > 1 + ROUNDING:
        return f"its values are from {low:g} to {high:g}"
    return None
