"""From the ``dataset_dir`` knob to the items that a MONAI dataset takes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts import cases, distributed, phantom
from scripts.checkpoints import trained
from scripts.errors import InputError
from scripts.files import write_json
from scripts.survey import checked_datalist

logger = logging.getLogger(__name__)


def datalist(
    dataset_dir: str,
    datalist_file: str | None,
    label_scheme: str,
    split_ratios: Sequence[float],
    seed: int,
    skip_bad_cases: bool,
    modalities: Sequence[str],
) -> dict[str, Any]:
    """The split that a training uses, every case of it checked.

    Rank 0 generates the phantom and checks the cases first; the other processes find its results in the cache.

    Args:
        dataset_dir: a folder in a known layout, or ``phantom``.
        datalist_file: a datalist made before, or None to make one.
        label_scheme: a scheme's name or ``auto``.
        split_ratios: shares of training, validation and test patients.
        seed: of the split.
        skip_bad_cases: leave out unusable cases instead of refusing.
        modalities: names of the image channels.
    """
    with distributed.rank_zero_first():
        root = phantom.resolve(dataset_dir)
        if datalist_file is not None:
            listed = cases.load_datalist(datalist_file) | {"dataset_dir": str(root)}
            return checked_datalist(listed, modalities, skip_bad_cases)
        return cases.prepare_datalist(
            root,
            label_scheme=label_scheme,
            ratios=tuple(split_ratios),
            seed=seed,
            skip_bad_cases=skip_bad_cases,
            modalities=tuple(modalities),
        )


def test_datalist(
    ckpt_dir: str,
    evaluate_on: str,
    dataset_dir: str | None,
    label_scheme: str,
    skip_bad_cases: bool,
    modalities: Sequence[str],
) -> dict[str, Any]:
    """The cases that an evaluation scores, as the ``test`` section of a datalist.

    Args:
        ckpt_dir: folder of the model's description, which holds the split it was trained with.
        evaluate_on: ``test`` for that split's test part, ``all`` for every labelled case of ``dataset_dir``.
        dataset_dir: None takes the folder of the training.
        label_scheme: used with ``all``; a scheme's name or ``auto``.
        skip_bad_cases: used with ``all``; leave out unusable cases.
        modalities: names of the image channels.

    Raises:
        InputError: ``evaluate_on`` is neither, or a case of the split is not in the folder.
    """
    split = trained(ckpt_dir, "datalist")
    with distributed.rank_zero_first():
        root = phantom.resolve(dataset_dir or split["dataset_dir"])
        if evaluate_on == "test":
            return split | {"dataset_dir": str(root)}
        if evaluate_on == "all":
            return cases.whole_datalist(root, label_scheme, skip_bad_cases, tuple(modalities))
    raise InputError(f"evaluate_on '{evaluate_on}' is unknown; choose test or all.")


def items(datalist: Mapping[str, Any], section: str, label_key: str = "label") -> list[dict[str, Any]]:
    """The items of one section, ``training``, ``validation`` or ``test``, with absolute paths.

    Args:
        datalist: as :mod:`scripts.cases` makes it.
        section: which part.
        label_key: name under which the label's path is handed on; an evaluation calls it ``truth``, so that the
            transforms of ``image`` and ``label`` leave it on its own grid.
    """
    return [
        {(label_key if key == "label" else key): value for key, value in item.items()}
        for item in cases.items(datalist, section)
    ]


def unlabelled_items(dataset_dir: str, modalities: Sequence[str], skip_bad_cases: bool) -> list[dict[str, Any]]:
    """Images to segment: the folder's unlabelled cases, or all of its cases where every one has a label.

    Args:
        dataset_dir: a folder in any known layout, or of 4-D NIfTI files, or ``phantom``.
        modalities: names of the image channels.
        skip_bad_cases: leave out unusable cases instead of refusing.
    """
    return cases.image_items(phantom.resolve(dataset_dir), tuple(modalities), skip_bad_cases)


def record(datalist: Mapping[str, Any], run_dir: str) -> None:
    """Keep the datalist in the run folder and log how many cases each part has."""
    write_json(Path(run_dir) / "datalist.json", datalist)
    counts = ", ".join(f"{len(datalist[part])} {part}" for part in ("training", "validation", "test"))
    logger.info("%s: %s cases, label scheme %s", datalist["dataset_dir"], counts, datalist["label_scheme"])
