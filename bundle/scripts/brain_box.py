"""The brain box, found on the stored integers in the order of memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Crop, CropForeground, CropForegroundd
from monai.utils import TraceKeys
from numpy.typing import NDArray

from scripts.errors import InputError


def is_brain(image: torch.Tensor) -> torch.Tensor:
    """Mask of the voxels that a skull-stripped image did not blank, for ``CropForeground``; any shape in and out.

    Not ``image > 0``, MONAI's default: some releases are stored z-scored, where half of the brain is negative.
    """
    return image != 0


def nonzero_extent(image: torch.Tensor) -> tuple[NDArray[np.int16], NDArray[np.int16]] | None:
    """Smallest box that holds every voxel which is not 0 in some channel, of a volume in main memory.

    :func:`scripts.boxes.nonzero_box` finds that of a volume on a device, there. Here it passes through the cache once,
    a plane of the slowest axis at a time; integers are joined by OR as the widest words that fit a row.

    Args:
        image: (C, H, W, D) in any layout.

    Returns:
        First voxel and the one after the last, each of shape (3,); None for a volume of zeros.
    """
    voxels = image.detach().cpu().numpy()
    axes = sorted(range(1, voxels.ndim), key=lambda axis: -abs(voxels.strides[axis]))
    planes = voxels.transpose(axes[0], 0, *axes[1:])
    words = _as_words(planes)
    rows = np.zeros((len(planes), planes.shape[2]), bool)
    columns: Any = 0
    for index, plane in enumerate(planes if words is None else words):
        joined = np.bitwise_or.reduce(plane != 0 if words is None else plane, axis=0)
        rows[index] = np.bitwise_or.reduce(joined, axis=1) != 0
        columns = columns | np.bitwise_or.reduce(joined, axis=0)
    column_hits = columns if words is None else columns.view(f"u{voxels.itemsize}") != 0
    start, end = np.zeros(3, np.int16), np.zeros(3, np.int16)
    for axis, hits in zip(axes, (rows.any(axis=1), rows.any(axis=0), column_hits), strict=True):
        found = np.flatnonzero(hits)
        if not len(found):
            return None
        start[axis - 1], end[axis - 1] = found[0], found[-1] + 1
    return start, end


def _as_words(planes: NDArray[Any]) -> NDArray[np.unsignedinteger] | None:
    """Integers with dense rows as unsigned words of up to 8 bytes; None for others: -0.0 is 0 and has a bit set."""
    if planes.dtype.kind not in "bui" or planes.strides[-1] != planes.itemsize:
        return None
    width = next(size for size in (8, 4, 2, 1) if planes.shape[-1] * planes.itemsize % size == 0)
    return planes.view(f"u{max(width, planes.itemsize)}")


class CropToBrain(CropForeground):
    """MONAI's ``CropForeground`` to what is not 0, as a view: nothing is copied, and nothing padded.

    Its inverse lays the box into a volume of zeros in a NIfTI file's order (first axis fastest), ready to be written.
    """

    def __init__(self) -> None:
        super().__init__(select_fn=is_brain, allow_smaller=True)

    def compute_bounding_box(self, img: torch.Tensor) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """First voxel of the box of ``img`` (C, H, W, D) and the one after its last, each (3,).

        Raises:
            InputError: the image is blank.
        """
        box = nonzero_extent(img)
        if box is None:
            name = img.meta.get("filename_or_obj", "image") if isinstance(img, MetaTensor) else "image"
            raise InputError(f"{name}: is 0 everywhere, but a brain is wanted; restore the file or leave out its case.")
        return box

    def crop_pad(
        self,
        img: torch.Tensor,
        box_start: NDArray[np.int16],
        box_end: NDArray[np.int16],
        mode: str | None = None,
        lazy: bool = False,
    ) -> torch.Tensor:
        """The box of ``img``, as a view of it. A box of voxels needs no padding, so ``mode`` is of no account."""
        return Crop.__call__(self, img, self.compute_slices(roi_start=box_start, roi_end=box_end), lazy=lazy)

    def inverse(self, img: MetaTensor) -> MetaTensor:
        """A volume of zeros with the box ``img`` (C, h, w, d) where it was."""
        traced = self.pop_transform(img)
        shape = [int(size) for size in traced[TraceKeys.ORIG_SIZE]]
        margins = traced[TraceKeys.EXTRA_INFO]["cropped"]
        inside = [slice(before, before + size) for before, size in zip(margins[::2], img.shape[1:], strict=True)]
        # NumPy's zeros cost nothing until they are touched, and most of them never are.
        zeros = torch.from_numpy(np.zeros((img.shape[0], *shape[::-1]), _numpy_type(img))).to(img.device)
        whole = zeros.permute(0, 3, 2, 1)
        whole[(slice(None), *inside)] = img.as_tensor()
        result = MetaTensor(whole, meta=img.meta, applied_operations=img.applied_operations)
        shift = torch.eye(4, dtype=torch.float64)
        shift[:3, 3] = -torch.tensor(margins[::2], dtype=torch.float64)
        result.affine = img.affine @ shift
        return result


def _numpy_type(tensor: torch.Tensor) -> np.dtype:
    return torch.empty(0, dtype=tensor.dtype).numpy().dtype


class CropToBraind(CropForegroundd):
    """Dictionary form of :class:`CropToBrain`: crops all ``keys`` to the box of ``source_key``.

    Args:
        keys: entries (C, H, W, D) on one grid.
        source_key: the image in which the box is found.
        allow_missing_keys: as in MONAI.
    """

    def __init__(self, keys: str | Sequence[str], source_key: str, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, source_key, is_brain, allow_smaller=True, allow_missing_keys=allow_missing_keys)
        self.cropper = CropToBrain()
