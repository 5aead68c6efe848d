"""NIfTI files in their stored type, without a copy: the reader that the configs hand to MONAI's ``LoadImaged``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import ImageReader, is_supported_format
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from scripts.errors import InputError, first_line
from scripts.inflate import read_bytes
from scripts.volumes import is_one_volume, times

SUFFIXES = ("nii", "nii.gz")
# Stored types that tensors have; voxels of any other become float32.
KEPT_TYPES = (np.uint8, np.int8, np.int16, np.int32, np.float32)
# The size of its own header, which a NIfTI-2 file begins with (nifti2.h).
NIFTI2_HEADER_BYTES = 540


def read_nifti(path: str | os.PathLike[str]) -> tuple[SpatialImage, NDArray[Any]]:
    """Read a NIfTI file in one go.

    Returns:
        nibabel's image, for header, affine and scaling alone (its own voxels are not there), and the voxels as stored,
        in the file's order: (H, W, D) or (H, W, D, C), the first axis fastest.

    Raises:
        Exception: of a dozen kinds of nibabel's, gzip's and zlib's, all of which mean that the file is damaged.
    """
    content = read_bytes(path)
    size = {int.from_bytes(content[:4].tobytes(), order) for order in ("little", "big")}
    kind = nib.Nifti2Image if NIFTI2_HEADER_BYTES in size else nib.Nifti1Image
    if len(content) < kind.header_class.sizeof_hdr:
        raise EOFError(f"a header of {kind.header_class.sizeof_hdr} bytes is wanted, but the file holds {len(content)}")
    header = kind.header_class(content[: kind.header_class.sizeof_hdr].tobytes())
    image = kind.from_bytes(content[: max(int(header.get_data_offset()), header.sizeof_hdr + 4)].tobytes())
    wanted = int(np.prod(image.dataobj.shape)) * image.dataobj.dtype.itemsize
    found = len(content) - image.dataobj.offset
    if found < wanted:
        raise EOFError(f"{wanted} bytes of voxels are wanted, but the file holds {max(found, 0)}")
    stored = content[image.dataobj.offset : image.dataobj.offset + wanted].view(image.dataobj.dtype)
    return image, stored.reshape(image.dataobj.shape, order="F")


def to_tensor_type(stored: NDArray[Any], slope: float = 1.0, inter: float = 0.0) -> NDArray[Any]:
    """Voxels in a type that tensors have: their own where nothing is scaled, else float32; the layout is kept."""
    if (slope, inter) != (1.0, 0.0):
        return stored.astype(np.float32) * np.float32(slope) + np.float32(inter)
    native = stored.dtype.newbyteorder("=")
    return stored.astype(native if native in KEPT_TYPES else np.float32, copy=False)


class NiftiReader(ImageReader):
    """MONAI reader of .nii and .nii.gz files that hands out the stored voxels, int16 as int16, in the file's order.

    MONAI's own reader makes float64 of scaled files and copies every volume to C order, which is a transposition of
    70 MB. Here the tensor is a view of what was inflated, strides and all; the brain box is cut out of it before
    anything is converted. Give ``LoadImaged`` ``dtype: null``, or it converts the whole volume. Several files, one a
    modality as in BraTS folders, become one tensor of all channels.
    """

    def verify_suffix(self, filename: Sequence[os.PathLike[str] | str] | os.PathLike[str] | str) -> bool:
        """Whether all files are NIfTI by name."""
        return is_supported_format(filename, SUFFIXES)

    def read(self, data: Sequence[os.PathLike[str] | str] | os.PathLike[str] | str) -> tuple[str, ...]:
        """The files of one volume, opened in :meth:`get_data`: after an error here MONAI would try other readers."""
        return tuple(str(path) for path in ensure_tuple(data))

    def get_data(self, img: tuple[str, ...]) -> tuple[torch.Tensor, dict[str, Any]]:
        """Voxels and metadata of one volume.

        Returns:
            (H, W, D) or (H, W, D, C) of one file, (C, H, W, D) of several; and affine (mm), shape and channel axis.

        Raises:
            InputError: a file cannot be read, its grid is not that of the first, or it is one of several and holds
                several volumes itself.
        """
        images, volumes = zip(*(self._read(path) for path in img), strict=True)
        first = images[0]
        for path, image in zip(img, images, strict=True):
            if image.shape != first.shape or not np.allclose(image.affine, first.affine):
                raise InputError(
                    f"{path}: has another shape or affine than {img[0]}, the first file of its case; "
                    "resample it to that grid."
                )
        if len(img) > 1:
            volumes = [_one_volume(path, volume) for path, volume in zip(img, volumes, strict=True)]
        channel_axis: float = 0 if len(img) > 1 else (-1 if len(first.shape) > 3 else float("nan"))
        meta = {
            MetaKeys.AFFINE: first.affine.copy(),
            MetaKeys.ORIGINAL_AFFINE: first.affine.copy(),
            MetaKeys.SPATIAL_SHAPE: np.asarray(first.shape[:3]),
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.ORIGINAL_CHANNEL_DIM: channel_axis,
        }
        return stacked(volumes), meta

    @staticmethod
    def _read(path: str) -> tuple[SpatialImage, NDArray[Any]]:
        try:
            image, stored = read_nifti(path)
            return image, to_tensor_type(stored, image.dataobj.slope, image.dataobj.inter)
        except Exception as error:
            reason = first_line(error)
            raise InputError(f"{path}: cannot be read ({reason}); restore the file or leave out its case.") from error


def _one_volume(path: str, volume: NDArray[Any]) -> NDArray[Any]:
    """(H, W, D) of what one of several files holds."""
    if not is_one_volume(volume.shape):
        raise InputError(
            f"{path}: has the shape {times(volume.shape)}, but each of several files of a case is to hold one volume; "
            "give one file with all channels, or files of one each."
        )
    return volume[..., 0] if volume.ndim > 3 else volume


def stacked(volumes: Sequence[NDArray[Any]]) -> torch.Tensor:
    """One volume as it is, several (H, W, D) as (C, H, W, D), each channel in the file's order."""
    if len(volumes) == 1:
        return torch.from_numpy(volumes[0])
    joined = np.empty((len(volumes), *volumes[0].shape[::-1]), np.result_type(*volumes))
    for channel, volume in zip(joined, volumes, strict=True):
        channel[...] = volume.T
    return torch.from_numpy(joined.transpose(0, *range(volumes[0].ndim, 0, -1)))
