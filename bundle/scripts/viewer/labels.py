"""Label maps of the viewer: read onto the images' grid, and the scheme that says what their ids mean."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scripts.errors import InputError
from scripts.grids import AFFINE_TOLERANCE_MM, affine_difference_mm
from scripts.labels import SCHEMES, Scheme, detect_scheme, get_scheme, unknown_values
from scripts.survey import AUTO
from scripts.viewer.source import Source
from scripts.viewer.volumes import Affine, Volume, as_array, own_affine, read_file, times


def read_labels(
    labels: Volume | str | os.PathLike[str] | None, what: str, shape: tuple[int, ...], affine: Affine
) -> NDArray[np.uint8] | None:
    """Label ids on the images' grid, uint8 (H, W, D).

    Args:
        labels: ids (H, W, D), (1, H, W, D) or (H, W, D, 1), or their file.
        what: ``label`` or ``prediction``, for messages.
        shape: of the images.
        affine: of the images.

    Raises:
        InputError: the file is absent or damaged, the grid is another one, or values are no ids.
    """
    if labels is None:
        return None
    if isinstance(labels, str | os.PathLike):
        shown = str(Path(labels).expanduser())
        ids, own = read_file(labels)
    else:
        shown = what
        ids, own = as_array(labels), own_affine(labels, what)
    if ids.ndim == 4 and 1 in (ids.shape[0], ids.shape[-1]):
        ids = ids[0] if ids.shape[0] == 1 else ids[..., 0]
    if ids.shape != shape:
        raise InputError(
            f"{shown}: the {what} has {times(ids.shape)} voxels, but the images have {times(shape)} voxels; give a "
            "label map on the images' grid."
        )
    difference = 0.0 if own is None else affine_difference_mm(own, affine)
    if difference > AFFINE_TOLERANCE_MM:
        raise InputError(
            f"{shown}: its affine differs from that of the images by up to {difference:.3g} mm; resample the {what} to "
            "their grid."
        )
    if ids.dtype != np.uint8:
        low, high = float(ids.min()), float(ids.max())
        # Written so that NaN is refused as well.
        if not (low >= 0 and high <= 255) or (ids.dtype.kind == "f" and not np.array_equal(ids, np.rint(ids))):
            raise InputError(
                f"{shown}: the {what} holds values from {low:g} to {high:g}, but whole label ids were wanted; give a "
                "label map, not an image or probabilities."
            )
    return ids.astype(np.uint8)


def choose_scheme(name: str, maps: Mapping[str, NDArray[np.uint8] | None], source: Source | None) -> Scheme | None:
    """The scheme asked for or detected, every id in it; None where there is no label map.

    Args:
        name: of the scheme, or ``auto``.
        maps: ``label`` and ``prediction``, each (H, W, D) or None.
        source: what the data set says of the case, or None.

    Raises:
        InputError: the scheme is unknown or cannot be told, or a map holds an id that is not in it.
    """
    ids = {what: np.flatnonzero(np.bincount(m.ravel(order="K"))).tolist() for what, m in maps.items() if m is not None}
    if not ids:
        return None
    seen = {value for values in ids.values() for value in values}
    declared = source.declared_labels if source else None
    naming = source.naming if source else None
    if name != AUTO:
        scheme = get_scheme(name)
    elif naming in SCHEMES and not unknown_values(seen, SCHEMES[naming]):
        # The names of one case are surer than its values: a case without enhancing tumour has no 4.
        scheme = SCHEMES[naming]
    else:
        # A declaration stands whatever the maps hold: which of them holds a foreign id is said below.
        scheme = get_scheme(detect_scheme(() if declared else seen, declared, naming))
    for what, values in ids.items():
        if unknown := unknown_values(values, scheme):
            raise InputError(
                f"the {what} holds the ids {', '.join(map(str, unknown))}, which scheme '{scheme.name}' does not have "
                f"(0, {', '.join(map(str, scheme.labels))}); set label_scheme to the data's own or mend the file."
            )
    return scheme
