"""Which images train, validate and test: by lesion, so that none is on two sides, and each class by itself.

The split is kept as a datalist, a JSON object::

    {
      "dataset_dir": "/data/HAM10000",          absolute
      "classes": ["akiec", "bcc", ...],         order of the labels and of the network's channels
      "split_ratios": [0.7, 0.15, 0.15],
      "seed": 42,
      "training": [{"image": "HAM10000_images/ISIC_0024313.jpg", "label": 4, "lesion": "HAM_0002869",
                    "name": "ISIC_0024313"}, ...],
      "validation": [...],
      "test": [...]
    }

A training writes it into its run folder and into ``model.json``; ``datalist_file`` takes one instead of a new split.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from skin_lesions import synthetic
from skin_lesions.classes import CLASSES
from skin_lesions.distributed import rank_zero_first
from skin_lesions.errors import InputError
from skin_lesions.files import read_json
from skin_lesions.ham10000 import METADATA, Image, read_images

PARTS = ("training", "validation", "test")
ENTRIES = {"image", "label", "lesion", "name"}


def datalist(dataset_dir: str, datalist_file: str | None, split_ratios: Sequence[float], seed: int) -> dict[str, Any]:
    """The split that a training uses.

    Args:
        dataset_dir: a folder in the layout of HAM10000, or the word ``synthetic``.
        datalist_file: a datalist made before, whose images lie in ``dataset_dir``; None splits anew.
        split_ratios: shares of training, validation and test lesions of each class.
        seed: of the split.

    Raises:
        InputError: the data or the ratios are unusable.
    """
    with rank_zero_first():
        root = synthetic.resolve(dataset_dir)
    if datalist_file is not None:
        return _loaded(datalist_file) | {"dataset_dir": str(root.resolve())}
    parts = split(read_images(root), split_ratios, seed)
    return {
        "dataset_dir": str(root.resolve()),
        "classes": list(CLASSES),
        "split_ratios": list(split_ratios),
        "seed": seed,
        **{part: [_entry(image) for image in images] for part, images in parts.items()},
    }


def split(images: Sequence[Image], ratios: Sequence[float], seed: int) -> dict[str, list[Image]]:
    """Share out the lesions of each class; all images of a lesion follow it.

    Validation and test get their ratio of a class's lesions, rounded half up, at least one each; training gets the
    rest. A lesion's place depends on its id and the seed alone, not on the order of the rows.

    Args:
        images: any order.
        ratios: shares of training, validation and test, all positive; their sum is 1.
        seed: another one gives another split.

    Returns:
        ``training``, ``validation`` and ``test``, each in the order of ``images``.

    Raises:
        InputError: the ratios make no sense, or a class has too few lesions for three parts.
    """
    if len(ratios) != len(PARTS) or min(ratios) <= 0 or not math.isclose(sum(ratios), 1, abs_tol=1e-6):
        raise InputError(
            f"split_ratios {list(ratios)} are unusable; give positive shares of training, validation and test that add "
            "up to 1, such as 0.7, 0.15, 0.15."
        )
    part_of: dict[str, str] = {}
    for label, name in enumerate(CLASSES):
        lesions = {image.lesion for image in images if image.label == label}
        ranked = sorted(lesions, key=lambda lesion: hashlib.sha256(f"{seed}:{lesion}".encode()).hexdigest())
        validation, test = (_share(ratio, len(ranked)) for ratio in ratios[1:])
        if len(ranked) <= validation + test:
            raise InputError(
                f"{METADATA}: the class '{name}' has {len(ranked)} lesions, too few for training, validation and test; "
                "add images of it or change split_ratios."
            )
        for place, lesion in enumerate(ranked):
            part_of[lesion] = (
                "validation" if place < validation else "test" if place < validation + test else "training"
            )
    return {part: [image for image in images if part_of[image.lesion] == part] for part in PARTS}


def items(datalist: Mapping[str, Any], section: str) -> list[dict[str, Any]]:
    """The items of one part for a MONAI dataset: ``image`` (absolute path), ``label``, ``lesion``, ``name``.

    Args:
        datalist: as :func:`datalist` makes it.
        section: ``training``, ``validation`` or ``test``.
    """
    root = Path(datalist["dataset_dir"])
    return [entry | {"image": str(root / entry["image"])} for entry in datalist[section]]


def _share(ratio: float, total: int) -> int:
    """Lesions that a part gets; 1e-9 keeps an exact half from falling to the error of binary fractions."""
    return max(1, math.floor(ratio * total + 0.5 + 1e-9))


def _entry(image: Image) -> dict[str, Any]:
    entry = asdict(image)
    return {"image": entry.pop("file"), **entry}


def _loaded(file: str) -> dict[str, Any]:
    """A datalist that was made before.

    Raises:
        InputError: it lacks a part, is of other classes, has a lesion in two parts or a label that is none, or no image
            of a class to train or to validate with.
    """
    content = read_json(file, "datalist")
    parts = [content.get(part) for part in PARTS] if isinstance(content, dict) else [None]
    if not all(parts) or any(ENTRIES - entry.keys() for part in parts for entry in part):
        raise InputError(f"{file}: is no datalist with training, validation and test; take a run's datalist.json.")
    if content.get("classes") != list(CLASSES):
        raise InputError(
            f"{file}: its classes are {content.get('classes')}, {list(CLASSES)} are wanted; make the datalist anew."
        )
    seen: dict[str, str] = {}
    for part in PARTS:
        labels = [entry["label"] for entry in content[part]]
        if strange := [label for label in labels if type(label) is not int or label not in range(len(CLASSES))]:
            raise InputError(
                f"{file}: the label {strange[0]!r} is in {part}, an index from 0 to {len(CLASSES) - 1} is wanted; make "
                "the datalist anew."
            )
        # The AUC of a class without an image is no number, and the best epoch is chosen by it.
        if part != "test" and (absent := [name for label, name in enumerate(CLASSES) if label not in labels]):
            raise InputError(
                f"{file}: no image of the class '{absent[0]}' is in {part}, one of each class is wanted; add some or "
                "make the datalist anew."
            )
        for entry in content[part]:
            if seen.setdefault(entry["lesion"], part) != part:
                raise InputError(
                    f"{file}: the lesion '{entry['lesion']}' is in {seen[entry['lesion']]} and in {part}, one part is "
                    "wanted; make the datalist anew."
                )
    return content
