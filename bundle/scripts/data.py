"""From the ``dataset_dir`` knob to the items that a MONAI dataset takes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts import cases, distributed, phantom
from scripts.checkpoints import trained
from scripts.ensemble import folders
from scripts.errors import InputError
from scripts.missing_modalities import BLANK, REFUSE, items_with_blanks
from scripts.splits import PARTS
from scripts.survey import checked_datalist

logger = logging.getLogger(__name__)

EVALUATE_ON = ("test", "validation", "all")


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
    ckpt_dir: str | Sequence[str],
    evaluate_on: str,
    dataset_dir: str | None,
    label_scheme: str,
    skip_bad_cases: bool,
    modalities: Sequence[str],
) -> dict[str, Any]:
    """A datalist of the cases that an evaluation scores, all in the section that :func:`scored_part` names.

    Args:
        ckpt_dir: folder of the model's description, which holds the split it was trained with; or those of an
            ensemble's members.
        evaluate_on: ``test`` for that split's test part; ``validation`` for the part that chose the model's epoch, to
            tune on; ``all`` for every labelled case of ``dataset_dir``.
        dataset_dir: None takes the folder of the training.
        label_scheme: used with ``all``; a scheme's name or ``auto``.
        skip_bad_cases: leave out unusable cases.
        modalities: names of the image channels.

    Raises:
        InputError: ``evaluate_on`` is none of these, no case is left to score, or a case is unusable.
    """
    if evaluate_on not in EVALUATE_ON:
        raise InputError(f"evaluate_on '{evaluate_on}' is unknown; choose {', '.join(EVALUATE_ON)}.")
    members = folders(ckpt_dir)
    splits = [trained(folder, "datalist") for folder in members]
    # A phantom is made again where its cache has been cleared; any other folder is where it was.
    word = trained(members[0], "recipe").get("dataset_dir")
    with distributed.rank_zero_first():
        root = phantom.resolve(str(dataset_dir or (word if word in phantom.WORDS else splits[0]["dataset_dir"])))
        if evaluate_on == "all":
            scored = cases.whole_datalist(root, label_scheme, skip_bad_cases, tuple(modalities))
            return without_seen_patients(scored, splits)
        found = splits[0][evaluate_on]
        if not found:
            raise InputError(
                f"{members[0]}: this model's split has no {evaluate_on} part; evaluate on other data with "
                "--evaluate_on all."
            )
        scored = splits[0] | {"dataset_dir": str(root), **dict.fromkeys(PARTS, []), evaluate_on: found}
        return checked_datalist(without_seen_patients(scored, splits, evaluate_on), modalities, skip_bad_cases)


def without_seen_patients(
    scored: dict[str, Any], splits: Sequence[Mapping[str, Any]], part: str = "test"
) -> dict[str, Any]:
    """Leave out of ``scored`` the patients that the model, or any member of an ensemble, has seen; with a warning.

    Seen are those of the training and, unless ``part`` says that these are to be scored, of the validation.

    Args:
        scored: a datalist.
        splits: the datalists of the trainings.
        part: section of ``scored``.

    Raises:
        InputError: nobody is left.
    """
    unseen = {"test", part}
    seen = {entry["patient"] for split in splits for name in PARTS if name not in unseen for entry in split[name]}
    kept = [entry for entry in scored[part] if entry["patient"] not in seen]
    left_out = [entry["case"] for entry in scored[part] if entry["patient"] in seen]
    model = "the model" if len(splits) == 1 else "a member of the ensemble"
    if not kept:
        remedy = "score it with --evaluate_on test, or set dataset_dir to other data"
        if len(splits) > 1:
            remedy = (
                "members that share no test part, such as folds whose test parts are the folds, cannot be scored "
                "together on the data of their training: score each alone, or set dataset_dir to other data and "
                "evaluate_on to all"
            )
        raise InputError(f"{scored['dataset_dir']}: {model} was trained or chosen on every patient here; {remedy}.")
    if left_out:
        logger.warning("not scored, %s was trained or chosen on them: %s", model, ", ".join(left_out))
    return scored | {part: kept}


def scored_part(evaluate_on: str) -> str:
    """Section of the datalist in which an evaluation's cases are: ``test`` or ``validation``.

    Labelled cases of another data set were held out as those of the split were.
    """
    return "validation" if evaluate_on == "validation" else "test"


def scores_dir(run_dir: str, evaluate_on: str, dataset_dir: str) -> str:
    """Folder of an evaluation's tables: ``test``, ``validation`` or, of another data set, ``all_<its folder's name>``.

    The score of another data set is no score of the held-out part, and never takes its place.

    Args:
        run_dir: the run's folder.
        evaluate_on: the knob.
        dataset_dir: folder of the data that are scored.
    """
    part = f"all_{Path(dataset_dir).resolve().name}" if evaluate_on == "all" else scored_part(evaluate_on)
    return str(Path(run_dir) / part)


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


def unlabelled_items(
    dataset_dir: str, modalities: Sequence[str], skip_bad_cases: bool, missing_modalities: str = REFUSE
) -> list[dict[str, Any]]:
    """Images to segment: the folder's unlabelled cases, or all of its cases where every one has a label.

    Args:
        dataset_dir: a folder in any known layout, or of 4-D NIfTI files, or ``phantom``.
        modalities: names of the image channels.
        skip_bad_cases: leave out unusable cases instead of refusing.
        missing_modalities: ``refuse``, or ``blank`` for channels of 0 where a case lacks one.

    Raises:
        InputError: ``missing_modalities`` is neither, or an image is unusable.
    """
    if missing_modalities not in (REFUSE, BLANK):
        raise InputError(f"missing_modalities '{missing_modalities}' is unknown; choose {REFUSE} or {BLANK}.")
    root = phantom.resolve(str(dataset_dir))
    if missing_modalities == BLANK:
        return items_with_blanks(Path(root), tuple(modalities), skip_bad_cases)
    return cases.image_items(root, tuple(modalities), skip_bad_cases)
