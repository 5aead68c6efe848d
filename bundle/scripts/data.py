"""From the ``dataset_dir`` knob to the items that a MONAI dataset takes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from scripts import cases, distributed, phantom
from scripts.checkpoints import trained
from scripts.errors import InputError
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
        root = phantom.resolve(str(dataset_dir))
        if datalist_file is not None:
            listed = cases.load_datalist(datalist_file) | {"dataset_dir": str(root)}
            refuse_contradiction(datalist_file, listed, label_scheme, modalities)
            return checked_datalist(listed, modalities, skip_bad_cases)
        return cases.prepare_datalist(
            root,
            label_scheme=label_scheme,
            ratios=tuple(split_ratios),
            seed=seed,
            skip_bad_cases=skip_bad_cases,
            modalities=tuple(modalities),
        )


def refuse_contradiction(
    datalist_file: str, listed: Mapping[str, Any], label_scheme: str, modalities: Sequence[str]
) -> None:
    """Refuse knobs that say otherwise than the datalist, whose files are in the order of its own modalities.

    Raises:
        InputError: modalities or label scheme differ.
    """
    if list(listed.get("modalities", modalities)) != list(modalities):
        raise InputError(
            f"{datalist_file}: was made for modalities {listed['modalities']}, but the knob says {list(modalities)}; "
            "set modalities to the datalist's own or make it anew."
        )
    if label_scheme not in ("auto", listed["label_scheme"]):
        raise InputError(
            f"{datalist_file}: its label scheme is {listed['label_scheme']}, but the knob label_scheme says "
            f"{label_scheme}; leave it at auto or make the datalist anew."
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
        skip_bad_cases: leave out unusable cases.
        modalities: names of the image channels.

    Raises:
        InputError: ``evaluate_on`` is neither, no case is left to score, or a case is unusable.
    """
    if evaluate_on not in ("test", "all"):
        raise InputError(f"evaluate_on '{evaluate_on}' is unknown; choose test or all.")
    split = trained(ckpt_dir, "datalist")
    # The phantom is made again where its cache has been cleared; any other folder is where it was.
    word = trained(ckpt_dir, "recipe").get("dataset_dir")
    with distributed.rank_zero_first():
        root = phantom.resolve(str(dataset_dir or (word if word == phantom.WORD else split["dataset_dir"])))
        if evaluate_on == "test":
            scored = split | {"dataset_dir": str(root), "training": [], "validation": []}
            if not scored["test"]:
                raise InputError(
                    f"{ckpt_dir}: this model's split has no test part; evaluate on other data with --evaluate_on all."
                )
            return checked_datalist(scored, modalities, skip_bad_cases)
        scored = cases.whole_datalist(root, label_scheme, skip_bad_cases, tuple(modalities))
    return without_seen_patients(scored, split)


def without_seen_patients(scored: dict[str, Any], split: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of ``scored`` the patients that the model was trained or chosen on, with a warning.

    Raises:
        InputError: nobody is left.
    """
    seen = {entry["patient"] for part in ("training", "validation") for entry in split[part]}
    kept = [entry for entry in scored["test"] if entry["patient"] not in seen]
    left_out = [entry["case"] for entry in scored["test"] if entry["patient"] in seen]
    if not kept:
        raise InputError(
            f"{scored['dataset_dir']}: the model was trained or chosen on every patient here; score it with "
            "--evaluate_on test, or set dataset_dir to other data."
        )
    if left_out:
        logger.warning("not scored, the model was trained or chosen on them: %s", ", ".join(left_out))
    return scored | {"test": kept}


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
    return cases.image_items(phantom.resolve(str(dataset_dir)), tuple(modalities), skip_bad_cases)
