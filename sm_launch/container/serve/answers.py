"""What a client gets: the file that the bundle wrote, or JSON."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .errors import Refusal
from .outcome import Outcome

JSON, ANY = "application/json", "*/*"
MEDIA_TYPES = {
    ".gz": "application/gzip", ".nii": "application/x-nifti", ".json": JSON, ".csv": "text/csv", ".png": "image/png",
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".npz": "application/octet-stream",
}  # fmt: skip
BINARY, TAR = "application/octet-stream", "application/x-tar"
# A prediction of more values is an image, not a list of class probabilities.
MAX_JSON_VALUES = 4096
MAX_LABELS = 256
MM3_PER_ML = 1000.0


def wants_json(accept: str) -> bool:
    """Whether JSON is asked for.

    Raises:
        Refusal: 406, the client takes neither JSON nor a file.
    """
    types = {part.partition(";")[0].strip().lower() for part in accept.split(",")} - {""}
    if JSON in types:
        return True
    served = {*MEDIA_TYPES.values(), BINARY, TAR, ANY, "application/*", "image/*", "application/nifti"}
    if types and not types & served:
        raise Refusal(406, "None of the accepted types is served; accept application/x-nifti or application/json.")
    return False


def answer(outcome: Outcome, as_json: bool, classes: Sequence[str], folder: Path) -> tuple[bytes, str]:
    """Body and media type of the answer.

    Args:
        outcome: what the run left behind.
        as_json: whether JSON was asked for.
        classes: names of the output channels.
        folder: a private folder, for a prediction that the bundle did not write itself.

    Raises:
        Refusal: 500, the run left nothing.
    """
    files, pred = outcome.files, outcome.pred
    if not files and pred is None:
        raise Refusal(500, "The bundle wrote no file and kept no prediction; add a SaveImaged to its postprocessing.")
    if not files and pred.numel() > MAX_JSON_VALUES:
        files = (_saved(pred, folder),)
    if not files:
        return _dumped(class_probabilities(pred, classes)), JSON
    if as_json:
        return _dumped({"files": [describe(file) for file in files]}), JSON
    if len(files) == 1:
        return files[0].read_bytes(), MEDIA_TYPES.get(files[0].suffix, BINARY)
    return _tar(files), TAR


def class_probabilities(pred: torch.Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """A small prediction as JSON: the values, and class and probability where they read as such.

    Values of 0 to 1 that sum to 1 are probabilities; a single whole number is the index of a class.
    """
    values = pred.detach().cpu().to(torch.float64)
    flat = values.flatten().tolist()
    content: dict[str, Any] = {"pred": values.tolist()}
    names = list(classes) if len(classes) == max(len(flat), 2) or len(flat) == 1 else []
    if len(flat) > 1 and min(flat) >= 0 and abs(sum(flat) - 1) < 1e-3:
        names = names or [str(index) for index in range(len(flat))]
        best = int(np.argmax(flat))
        content |= {
            "class": names[best], "probability": flat[best], "probabilities": dict(zip(names, flat, strict=True)),
        }  # fmt: skip
    elif len(flat) == 1 and flat[0].is_integer() and 0 <= flat[0] < len(names) > 1:
        content |= {"class": names[int(flat[0])]}
    return content


def describe(file: Path) -> dict[str, Any]:
    """A written file as JSON; of a label volume the voxels and millilitres of each label but 0."""
    facts: dict[str, Any] = {"name": file.name, "bytes": file.stat().st_size}
    if file.name.endswith((".nii", ".nii.gz")):
        facts |= volumes(file)
    elif file.suffix == ".json":
        facts["content"] = json.loads(file.read_text(encoding="utf-8"))
    return facts


def volumes(file: Path) -> dict[str, Any]:
    """Shape, voxel size in mm, and the extent of each label in a NIfTI file; the range of one that holds no labels."""
    import nibabel as nib

    image = nib.load(file)
    voxels = np.asanyarray(image.dataobj)
    spacing_mm = [float(size) for size in image.header.get_zooms()[:3]]
    facts: dict[str, Any] = {"shape": list(voxels.shape), "spacing_mm": spacing_mm, "dtype": str(voxels.dtype)}
    if not np.issubdtype(voxels.dtype, np.integer) and not np.array_equal(voxels, np.rint(voxels)):
        return facts | {"min": float(voxels.min()), "max": float(voxels.max()), "mean": float(voxels.mean())}
    labels, counts = np.unique(voxels, return_counts=True)
    if len(labels) > MAX_LABELS:
        return facts | {"min": float(labels[0]), "max": float(labels[-1])}
    ml = float(np.prod(spacing_mm)) / MM3_PER_ML
    return facts | {
        "labels": {
            str(int(label)): {"voxels": int(count), "ml": float(count) * ml}
            for label, count in zip(labels, counts, strict=True)
            if label != 0
        }
    }


def _saved(pred: torch.Tensor, folder: Path) -> Path:
    """Write a prediction as ``SaveImaged`` would: NIfTI, with the affine that it carries."""
    from monai.transforms import SaveImage

    target = folder / "prediction"
    SaveImage(output_dir=target, output_postfix="seg", output_ext=".nii.gz", separate_folder=False, print_log=False)(
        pred
    )
    return next(target.iterdir())


def _tar(files: Sequence[Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for file in files:
            entry = tarfile.TarInfo(file.name)
            entry.size = file.stat().st_size
            with file.open("rb") as content:
                archive.addfile(entry, content)
    return buffer.getvalue()


def _dumped(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content).encode()
