"""The data of a lab: the embedded phantom, a folder, or a place in S3, behind one parameter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
from filelock import FileLock
from nibabel.nifti1 import Nifti1Image
from scripts.datalists import entries
from scripts.errors import InputError
from scripts.files import write_aside, write_json
from scripts.labels import Scheme
from scripts.layouts import MODALITIES, find_dataset
from scripts.splits import PARTS
from scripts.survey import AUTO, survey_labelled

from .progress import Line
from .project import work
from .where import EMBEDDED, S3


def dataset(source: str) -> Path:
    """The folder that a lab's ``DATA`` parameter means.

    Args:
        source: ``embedded``, the phantom (24 synthetic cases with label, 80 x 96 x 80 voxels of 2 mm, made on first
            use in the user's cache); a folder in a layout that the bundle knows; or ``s3://bucket/prefix``, fetched
            once into the labs' work folder (untested on AWS).

    Raises:
        InputError: the folder is absent or holds no cases.
    """
    if source == EMBEDDED:
        return _phantom()
    folder = _fetched(source) if source.startswith(S3) else Path(source).expanduser().resolve()
    if not find_dataset(folder).cases:
        raise InputError(f"{folder}: holds no case with a label; set DATA to a training set, or to '{EMBEDDED}'.")
    return folder


def listed(dataset_dir: Path, count: int | None = None) -> list[dict[str, Any]]:
    """The labelled cases of a folder.

    Args:
        dataset_dir: as :func:`dataset` gives it.
        count: only so many, in natural order of their names.

    Returns:
        A dict a case: ``case`` (name), ``patient``, ``image`` (paths), ``label`` (path).
    """
    found = find_dataset(dataset_dir)
    described = [
        {
            "case": case.name,
            "patient": case.patient,
            "image": [str(path) for path in case.image],
            "label": str(case.label),
        }
        for case in found.cases
    ]
    return described[:count]


def label_scheme(dataset_dir: Path) -> Scheme:
    """What the label ids of a folder mean, found from its files as the bundle does.

    Args:
        dataset_dir: as :func:`dataset` gives it.

    Raises:
        InputError: nothing says it, or the files contradict each other.
    """
    return survey_labelled(dataset_dir, AUTO, MODALITIES, progress=False).scheme


def modality_images(case: dict[str, Any]) -> dict[str, Nifti1Image]:
    """The scans of a case, however its folder stores them.

    Args:
        case: as :func:`listed` gives it.

    Returns:
        Modality name to a 3-D image (H, W, D) with its affine.
    """
    files = [nib.load(path) for path in case["image"]]
    scans = nib.four_to_three(files[0]) if len(files) == 1 else files
    return dict(zip(MODALITIES, scans, strict=True))


def datalist(dataset_dir: Path, folder: Path, training: int, validation: int, test: int = 1) -> Path:
    """Write a split of a few cases, for trainings that a lab can wait for.

    The cases are the first of the folder in natural order; parts share no patient.

    Args:
        dataset_dir: as :func:`dataset` gives it.
        folder: where ``datalist.json`` goes.
        training: cases to train with.
        validation: cases to validate on.
        test: cases held out.

    Returns:
        The file, for the ``datalist_file`` knob.

    Raises:
        InputError: the folder has too few patients.
    """
    found = survey_labelled(dataset_dir, AUTO, MODALITIES, progress=False)
    patients = {case.patient: case for case in reversed(found.usable)}
    chosen = list(patients.values())[::-1]
    wanted = training + validation + test
    if len(chosen) < wanted:
        raise InputError(f"{dataset_dir}: has {len(chosen)} usable patients, {wanted} were wanted; ask for fewer.")
    cuts = (0, training, training + validation, wanted)
    content = {
        "dataset_dir": str(found.dataset.root),
        "layout": found.dataset.layout,
        "label_scheme": found.scheme.name,
        "modalities": list(MODALITIES),
    } | {
        part: entries(chosen[begin:end], found.dataset.root)
        for part, begin, end in zip(PARTS, cuts, cuts[1:], strict=False)
    }
    target = folder / "datalist.json"
    write_json(target, content)
    return target


def _phantom() -> Path:
    """The embedded set, made once whichever lab comes first; others wait for it."""
    # Its libraries take seconds to import, which labs on real data need not wait for.
    from scripts import phantom

    def make(target: Path) -> Path:
        line = Line()
        line.show("making the synthetic patients, once: about 15 seconds", last=True)
        phantom.generate(target, progress=False)
        line.show("made the synthetic patients", last=True)
        return target

    target = phantom.default_dir()
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        return phantom.make_once(target, make)


def _fetched(uri: str) -> Path:
    """Download what lies under an S3 prefix into the work folder, unless it lies there whole already.

    Raises:
        InputError: nothing lies there, or AWS refuses.
    """
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    from sm_launch.s3_uri import split

    bucket, prefix = split(uri)
    target = work("data") / bucket / prefix
    try:
        client = boto3.client("s3")
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        sizes = {found["Key"]: found["Size"] for page in pages for found in page.get("Contents", [])}
        for key, size in sizes.items():
            file = target / key[len(prefix) :].lstrip("/")
            if not key.endswith("/") and not (file.is_file() and file.stat().st_size == size):
                with write_aside(file) as aside:
                    client.download_file(bucket, key, str(aside))
    except (BotoCoreError, ClientError) as error:
        raise InputError(f"{uri}: AWS refuses ({error}); check DATA and your credentials.") from error
    if not sizes:
        raise InputError(f"{uri}: nothing lies there; check DATA.")
    return target
