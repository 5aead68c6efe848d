"""One case of a store on disk: plain arrays that can be mapped into memory, and a manifest that tells all about them.

``<case>/image.npy`` holds the voxels as int16 fixed point, [H][W][D][C]: a voxel's channels lie side by side, as a
network in channels_last order wants them, and each channel has its own unit, so its largest value uses all 15 bits.
``<case>/label.npy`` holds the uint8 ids, [H][W][D]; ``<case>/locations.npy`` voxels of each tumour class; and
``<case>/case.json`` the rest. A folder is written aside and renamed: a case is whole or absent.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scripts.errors import InputError
from scripts.files import is_write_error, read_json, unwritable, write_json
from scripts.patches import locate_classes

MANIFEST = "case.json"
ARRAYS = ("image", "label", "locations")
MANIFEST_KEYS = ("shape", "channels", "units", "spacing_mm", "affine", "locations", "sha256", "sources", "recipe")
PART_PREFIX = ".part-"
LARGEST = np.iinfo(np.int16).max


@dataclass(frozen=True)
class StoredCase:
    """A case of a store.

    Attributes:
        name: of the case.
        image: int16, (H, W, D, C), mapped from the file.
        label: uint8, (H, W, D), likewise.
        units: what a step of ``image`` is worth, a value a channel.
        locations: voxels of each tumour class, (n, 3).
        spacing_mm: of the grid.
        affine: voxel to mm, 4 x 4.
    """

    name: str
    image: torch.Tensor
    label: torch.Tensor
    units: np.ndarray
    locations: Mapping[int, np.ndarray]
    spacing_mm: tuple[float, ...]
    affine: np.ndarray


def write_case(folder: Path, data: Mapping[str, Any], recipe: str, sources: Sequence[Mapping[str, Any]]) -> None:
    """Write one preprocessed case; an older one of that name is replaced.

    Args:
        folder: of the case.
        data: what the deterministic transforms made: ``image`` (C, H, W, D) and ``label`` (1, H, W, D), both with an
            affine, and the brain box in voxels of the source, if they cropped to it.
        recipe: digest of those transforms.
        sources: identity of the files that it was made from.

    Raises:
        InputError: the voxels are not finite, or the disk refuses.
    """
    image = data["image"].as_tensor().permute(1, 2, 3, 0)
    largest = image.abs().amax(dim=(0, 1, 2))
    if not torch.isfinite(largest).all():
        raise InputError(f"{folder.name}: holds NaN or infinite voxels after preprocessing; mend its image.")
    units = (largest / LARGEST).clamp_min(torch.finfo(torch.float32).tiny)
    label = data["label"].as_tensor()[0].to(torch.uint8).contiguous().numpy()
    locations = locate_classes(label)
    voxels = (image / units).round_().to(torch.int16).contiguous().numpy()
    arrays = {
        "image": voxels,
        "label": label,
        "locations": np.concatenate([np.zeros((0, 3), np.int16), *locations.values()]),
    }
    box = {
        name: [int(n) for n in data[key]]
        for name, key in (("box_start", "foreground_start_coord"), ("box_stop", "foreground_end_coord"))
        if key in data
    }
    with folder_aside(folder) as aside:
        for name, array in arrays.items():
            np.save(aside / f"{name}.npy", array)
        manifest = {
            "case": folder.name,
            "shape": list(label.shape),
            "channels": int(voxels.shape[3]),
            "units": [float(unit) for unit in units],
            "spacing_mm": [float(size) for size in data["image"].pixdim],
            "affine": data["image"].affine.tolist(),
            **box,
            "locations": {str(value): len(voxels) for value, voxels in locations.items()},
            "sha256": {name: digest(aside / f"{name}.npy") for name in arrays},
            "sources": list(sources),
            "recipe": recipe,
        }
        write_json(aside / MANIFEST, manifest)


def read_case(folder: Path) -> StoredCase:
    """Map a case into memory; no voxel is read yet.

    Raises:
        InputError: a file is absent, damaged or of another size than the manifest says.
    """
    about = read_manifest(folder)
    shape = tuple(about["shape"])
    image = mapped(folder / "image.npy", (*shape, about["channels"]), torch.int16)
    label = mapped(folder / "label.npy", shape, torch.uint8)
    counts = about["locations"]
    voxels = mapped(folder / "locations.npy", (sum(counts.values()), 3), torch.int16).numpy()
    parts = np.split(voxels, np.cumsum(list(counts.values()))[:-1]) if counts else []
    locations = {int(value): part for value, part in zip(counts, parts, strict=True)}
    units = np.array(about["units"], np.float32)
    return StoredCase(
        folder.name, image, label, units, locations, tuple(about["spacing_mm"]), np.array(about["affine"])
    )


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a case.

    Raises:
        InputError: it is absent or damaged.
    """
    about = read_json(folder / MANIFEST, "manifest of a stored case")
    missing = [key for key in MANIFEST_KEYS if key not in about] if isinstance(about, dict) else list(MANIFEST_KEYS)
    if missing:
        raise InputError(
            f"{folder / MANIFEST}: lacks {', '.join(missing)}; remove {folder} and run python -m scripts.store again."
        )
    return about


def mapped(file: Path, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """A ``.npy`` file as a tensor over its pages. Unlike numpy's maps it keeps no file open: a store has thousands.

    Raises:
        InputError: the file is absent or not as long as ``shape`` asks.
    """
    count = int(np.prod(shape))
    width = torch.empty((), dtype=dtype).element_size()
    size = file.stat().st_size if file.is_file() else -1
    header = size - count * width
    # numpy pads its header to a multiple of 64 bytes; anything else is another array, or a part of one.
    if size < 0 or header <= 0 or header % 64 or header > 256:
        raise InputError(
            f"{file}: has {max(size, 0)} bytes, but its manifest asks for {count * width} and a header; remove "
            f"{file.parent} and run python -m scripts.store again."
        )
    flat = torch.from_file(str(file), shared=False, size=size // width, dtype=dtype)
    return flat[header // width :].view(shape)


def source_identity(file: str | os.PathLike[str]) -> dict[str, Any]:
    """What tells a source file's content without reading it: its size, and the checksum that gzip keeps at its end.

    An uncompressed file has none, so it is read. The time of change is left out: a copied data set stays the same. Of a
    gzip file of several members, which no NIfTI writer makes, the checksum is the last one's.
    """
    path = Path(file)
    with path.open("rb") as stream:
        if path.suffix == ".gz":
            stream.seek(-8, os.SEEK_END)
            crc32 = int.from_bytes(stream.read(4), "little")
        else:
            crc32 = 0
            while block := stream.read(1 << 24):
                crc32 = zlib.crc32(block, crc32)
        return {"file": path.name, "bytes": os.fstat(stream.fileno()).st_size, "crc32": f"{crc32:08x}"}


def digest(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    found = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            found.update(block)
    return found.hexdigest()


@contextmanager
def folder_aside(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``target`` that takes its name on success and is removed on failure.

    An older folder of that name is renamed before it is removed, so there is never a part of one under the name.

    Raises:
        InputError: the disk is full or refuses.
    """
    aside: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=PART_PREFIX, dir=target.parent))
        fresh = aside / "new"
        fresh.mkdir()
        yield fresh
        with suppress(FileNotFoundError):
            os.replace(target, aside / "old")
        try:
            os.replace(fresh, target)
        except OSError as error:
            # Another process, which fills the same store, was a moment faster with this very case.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    except (OSError, RuntimeError) as error:
        if not is_write_error(error):
            raise
        raise unwritable(target, error) from error
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)
