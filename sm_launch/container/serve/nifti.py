"""NIfTI files of strangers: header first, then the voxels as a stream that may not be longer than the header says.

Field offsets and codes are those of nifti1.h and nifti2.h (nifti.nimh.nih.gov).
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .errors import Refusal
from .settings import Settings

GZIP_MAGIC = b"\x1f\x8b"
CHUNK_BYTES = 1 << 20
# Header extensions lie between header and voxels, and writers may pad the end.
SLACK_BYTES = 1 << 20
# Bits of a voxel by the code of its type: whole and real numbers, no complex, RGB or 128-bit ones.
VOXEL_BITS = {2: 8, 256: 8, 4: 16, 512: 16, 8: 32, 768: 32, 16: 32, 64: 64, 1024: 64, 1280: 64}
MM3_PER_LITRE = 1e6


@dataclass(frozen=True)
class Layout:
    """Where the fields of a header lie: offsets in bytes, ``struct`` codes, and the magic words."""

    size: int
    dim: tuple[int, str]
    datatype: int
    bitpix: int
    pixdim: tuple[int, str]
    vox_offset: tuple[int, str]
    sform_code: tuple[int, str]
    srow: tuple[int, str]
    magic: tuple[int, bytes]


NIFTI1 = Layout(
    348, (40, "8h"), 70, 72, (76, "8f"), (108, "f"), (254, "h"), (280, "12f"), (344, b"n+1\0")
)  # fmt: skip
NIFTI2 = Layout(
    540, (16, "8q"), 12, 14, (104, "8d"), (168, "q"), (348, "i"), (400, "12d"), (4, b"n+2\0\r\n\x1a\n")
)  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What a header says: shape, and bytes of the whole file without compression."""

    shape: tuple[int, ...]
    file_bytes: int

    @property
    def channels(self) -> int:
        """Volumes on the fourth axis."""
        return self.shape[3] if len(self.shape) > 3 else 1


def is_gzip(path: Path) -> bool:
    """Whether a file begins as gzip does."""
    with path.open("rb") as content:
        return content.read(len(GZIP_MAGIC)) == GZIP_MAGIC


def check_file(path: Path, settings: Settings) -> Header:
    """Read a NIfTI file once, without keeping it, and return its header.

    Memory stays at a megabyte whatever the file inflates to, and reading stops where the header's own sum ends.

    Raises:
        Refusal: 400 for what is no sound NIfTI file, 413 for one that is larger than allowed.
    """
    opener = gzip.open if is_gzip(path) else open
    try:
        with opener(path, "rb") as content:
            return _check_stream(content, settings)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Refusal(400, "The body is damaged or truncated gzip; send the whole file.") from error


def _check_stream(content: BinaryIO, settings: Settings) -> Header:
    head = content.read(NIFTI2.size)
    header, total = read_header(head, settings), len(head)
    while chunk := content.read(CHUNK_BYTES):
        total += len(chunk)
        if total > header.file_bytes + SLACK_BYTES:
            raise Refusal(400, "The body inflates to more than its NIfTI header announces; send a sound file.")
    if total < header.file_bytes:
        raise Refusal(400, "The body holds fewer voxels than its NIfTI header announces; send the whole file.")
    return header


def read_header(head: bytes, settings: Settings) -> Header:
    """Read and judge the first bytes of a NIfTI file.

    Args:
        head: the first 540 bytes, or all of a smaller file.
        settings: the limits.

    Raises:
        Refusal: 400 or 413, as for :func:`check_file`.
    """
    layout, order = _layout(head)

    def field(at: int, code: str) -> tuple[float, ...]:
        return struct.unpack_from(order + code, head, at)

    (bits,), (datatype,), dim = field(layout.bitpix, "h"), field(layout.datatype, "h"), field(*layout.dim)
    if VOXEL_BITS.get(int(datatype)) != bits:
        raise Refusal(400, "The voxel type is none of the 8 to 64 bit integers and floats; convert the image.")
    if not 2 <= dim[0] <= 4 or any(extent < 1 for extent in dim[1 : int(dim[0]) + 1]):
        raise Refusal(400, "The image has not 2 to 4 axes of at least 1 voxel; send one volume, channels last.")
    shape = tuple(int(extent) for extent in dim[1 : int(dim[0]) + 1])
    if math.prod(shape) > settings.max_voxels:
        raise Refusal(413, f"The image has {math.prod(shape)} voxels; at most {settings.max_voxels} are allowed.")
    # A reader takes the voxel size from either; resampling makes as many voxels as the larger one says.
    sizes = [[abs(size) for size in field(*layout.pixdim)[1:4]]]
    if field(*layout.sform_code)[0] > 0:
        rows = field(*layout.srow)
        sizes.append([math.hypot(*rows[axis::4]) for axis in range(3)])
    for size in sizes:
        _check_extent(size[: len(shape)], shape, settings)
    (offset,) = field(*layout.vox_offset)
    # A non-finite or huge offset fails the comparison.
    if not layout.size <= offset <= layout.size + SLACK_BYTES:
        raise Refusal(400, "The voxels do not begin behind the header; send a single-file NIfTI (.nii or .nii.gz).")
    return Header(shape, int(offset) + math.prod(shape) * int(bits) // 8)


def _check_extent(size_mm: Sequence[float], shape: Sequence[int], settings: Settings) -> None:
    if not all(math.isfinite(size) and size > 0 for size in size_mm):
        raise Refusal(400, "The voxel size is not positive and finite; mend the NIfTI header.")
    litres = math.prod(size * extent for size, extent in zip(size_mm, shape, strict=False)) / MM3_PER_LITRE
    if litres > settings.max_litres:
        raise Refusal(413, f"The image is {litres:.3g} litres large; at most {settings.max_litres:.0f} are allowed.")


def _layout(head: bytes) -> tuple[Layout, str]:
    for layout in (NIFTI1, NIFTI2):
        at, magic = layout.magic
        if len(head) >= layout.size and head[at : at + len(magic)] == magic:
            for order in "<>":
                if struct.unpack_from(f"{order}i", head)[0] == layout.size:
                    return layout, order
    raise Refusal(400, "The body is no NIfTI file; send the bytes of a .nii or .nii.gz file.")
