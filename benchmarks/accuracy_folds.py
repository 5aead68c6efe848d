"""The folds of benchmarks/accuracy.py: every patient is tested once, by a model of all others' cases.

A fold is what ``python -m scripts.cases --ratios 0.8 0.2 0 --folds 5 --fold K`` writes, its validation part taken for
the test part: no side validates, since final weights are scored and minutes are equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import timing  # noqa: F401  puts bundle/ on the path
from numpy.typing import NDArray
from scripts.cases import items, prepare_datalist
from scripts.predictions import image_files

FOLDS = 5
SEED = 42
# Of training, validation and test; with a test ratio of 0, folds deal all patients out, and the other two say nothing.
RATIOS = (0.8, 0.2, 0.0)


@dataclass(frozen=True)
class Fold:
    """One training and its test.

    Attributes:
        number: from 0.
        label_scheme: of the label files.
        modalities: channels of the images.
        dataset_dir: folder of the data set.
        datalist: of the training, as :mod:`scripts.datalists` describes it, without validation and test part.
        training, test: items with ``case``, ``image`` and ``label``, the latter two as absolute paths.
    """

    number: int
    label_scheme: str
    modalities: tuple[str, ...]
    dataset_dir: str
    datalist: dict[str, Any]
    training: list[dict[str, Any]]
    test: list[dict[str, Any]]


def read_image(item: Mapping[str, Any]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Stored intensities (H, W, D, C) and affine (4, 4) of a case, of one 4-D file or of one file a modality."""
    volumes = [nib.load(file) for file in image_files(item)]
    arrays = [np.asarray(volume.dataobj, np.float32) for volume in volumes]
    return arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=-1), volumes[0].affine.astype(np.float64)


def make_fold(dataset_dir: Path, number: int, folds: int = FOLDS, seed: int = SEED) -> Fold:
    """One fold of a data set; the same for the same patients and seed, in whatever order their files are found.

    Args:
        dataset_dir: a folder in a layout that the bundle knows.
        number: of the fold, from 0.
        folds: how many there are; with 10 patients, 5 leave two out.
        seed: of the order in which patients are dealt.

    Raises:
        InputError: the folder or a case is unusable, or there are too few patients.
    """
    split = prepare_datalist(dataset_dir, ratios=RATIOS, seed=seed, folds=folds, fold=number)
    return Fold(
        number,
        split["label_scheme"],
        tuple(split["modalities"]),
        split["dataset_dir"],
        split | {"validation": [], "test": []},
        items(split, "training"),
        items(split, "validation"),
    )
