"""What a data set folder holds once every case of it was read: the facts, the label scheme and the unusable cases."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from scripts.datalists import items
from scripts.errors import InputError
from scripts.labels import Scheme, detect_scheme, get_scheme, refuse_declared_otherwise, unknown_values
from scripts.layouts import find_dataset
from scripts.naming import Case, Dataset, natural_key
from scripts.splits import PARTS
from scripts.validate import CaseFacts, check_cases, scheme_problems

logger = logging.getLogger(__name__)

AUTO = "auto"


@dataclass(frozen=True)
class Survey:
    """A data set's labelled cases after reading them.

    Attributes:
        dataset: what was found.
        facts: of each of ``dataset.cases``, in that order.
        scheme: what the label ids mean.
        problems: name to sentence of each case that cannot be used, those with missing files among them.
    """

    dataset: Dataset
    facts: list[CaseFacts]
    scheme: Scheme
    problems: dict[str, str]

    @property
    def usable(self) -> list[Case]:
        """The labelled cases without a problem."""
        return [case for case in self.dataset.cases if case.name not in self.problems]


def survey_labelled(
    dataset_dir: str | os.PathLike[str], label_scheme: str, modalities: Sequence[str], progress: bool = True
) -> Survey:
    """Find and read every labelled case, and settle the scheme.

    Raises:
        InputError: no labelled cases, none that can be read, or the scheme is unclear or contradicted.
    """
    dataset = find_dataset(dataset_dir, modalities)
    if not dataset.cases and not dataset.problems:
        count = len(dataset.unlabelled) + len(dataset.image_problems)
        raise InputError(
            f"{dataset.root}: none of its {count} cases has a label, which training and evaluation need; set "
            "dataset_dir to labelled data, or segment these with configs/inference.json."
        )
    facts = check_cases(dataset.cases, len(modalities), progress=progress)
    problems = dataset.problems | {
        case.name: "; ".join(fact.problems) for case, fact in zip(dataset.cases, facts, strict=True) if fact.problems
    }
    readable = [fact for fact in facts if not fact.problems]
    if not readable:
        refuse(dataset.root, problems, len(problems))
    scheme = _choose_scheme(label_scheme, readable, dataset)
    for case, fact in zip(dataset.cases, facts, strict=True):
        if case.name not in problems and (wrong := scheme_problems(fact, scheme)):
            problems[case.name] = f"{case.label}: {wrong[0]}"
    return Survey(dataset, facts, scheme, problems)


def survey_images(
    dataset_dir: str | os.PathLike[str], modalities: Sequence[str], progress: bool = True
) -> tuple[Dataset, list[Case], dict[str, str]]:
    """Find and read the images to segment: the cases without a label, or all cases if every one has a label.

    Returns:
        The data set, the usable cases (their labels left out), and name to sentence of the others.
    """
    dataset = find_dataset(dataset_dir, modalities)
    found, problems = dataset.unlabelled, dataset.image_problems
    if not found and not problems:
        found = [Case(case.name, case.patient, case.image, None) for case in dataset.cases]
        problems = dataset.problems
    facts = check_cases(found, len(modalities), progress=progress)
    problems = problems | {
        case.name: "; ".join(fact.problems) for case, fact in zip(found, facts, strict=True) if fact.problems
    }
    return dataset, [case for case in found if case.name not in problems], problems


def checked_datalist(
    datalist: Mapping[str, Any], modalities: Sequence[str], skip_bad_cases: bool, progress: bool = True
) -> dict[str, Any]:
    """Read every case of a datalist that was made before: its files may have changed since, or been written by hand.

    Returns:
        The datalist, less the unusable cases if they are to be skipped.

    Raises:
        InputError: cases are unusable; all such are named at once.
    """
    listed = [
        Case(item["case"], item["patient"], tuple(map(Path, _image_files(item))), Path(item["label"]))
        for part in PARTS
        for item in items(datalist, part)
    ]
    # Copies of a case stand over the same files, which are read once.
    once = list({(case.image, case.label): case for case in listed}.values())
    facts = dict(
        zip(((c.image, c.label) for c in once), check_cases(once, len(modalities), None, progress), strict=True)
    )
    scheme = get_scheme(datalist["label_scheme"])
    problems = {
        case.name: "; ".join(found)
        for case in listed
        if (found := (fact := facts[case.image, case.label]).problems or scheme_problems(fact, scheme))
    }
    refuse_or_skip(Path(datalist["dataset_dir"]), problems, len(listed), skip_bad_cases)
    kept = {part: [entry for entry in datalist[part] if entry["case"] not in problems] for part in PARTS}
    left_out = [{"case": name, "problem": problem} for name, problem in problems.items()]
    return dict(datalist) | kept | {"skipped": [*datalist.get("skipped", []), *left_out]}


def _image_files(item: Mapping[str, Any]) -> list[str]:
    return [item["image"]] if isinstance(item["image"], str) else item["image"]


def refuse_or_skip(root: Path, problems: Mapping[str, str], total: int, skip_bad_cases: bool) -> None:
    """Stop at unusable cases, naming all of them at once; or warn of each, if the user chose to go on without them."""
    if not problems:
        return
    if not skip_bad_cases or len(problems) == total:
        refuse(root, problems, total)
    logger.warning("%s: left out %d of %d cases:\n%s", root, len(problems), total, _lines(problems))


def refuse(root: Path, problems: Mapping[str, str], total: int) -> NoReturn:
    """Raise with every unusable case on a line of its own."""
    raise InputError(
        f"{root}: {len(problems)} of {total} case{'s are' if total != 1 else ' is'} unusable; mend or remove them"
        f"{', or leave them out with --skip_bad_cases' if len(problems) < total else ''}:\n{_lines(problems)}"
    )


def _lines(problems: Mapping[str, str]) -> str:
    return "\n".join(
        f"  {name}: {problem}" for name, problem in sorted(problems.items(), key=lambda p: natural_key(p[0]))
    )


def _choose_scheme(requested: str, facts: Sequence[CaseFacts], dataset: Dataset) -> Scheme:
    """The scheme asked for, unless the data contradict it; or the one that they speak for."""
    cases_with = Counter(value for fact in facts for value in fact.label_counts)
    if requested != AUTO:
        scheme = get_scheme(requested)
        _refuse_contradiction(scheme, cases_with, facts, dataset)
        return scheme
    try:
        return get_scheme(detect_scheme(cases_with, dataset.declared_labels, dataset.naming))
    except InputError as error:
        # A stray value in a few files must not hide what the others say; those files are reported as unusable.
        common = [value for value, count in cases_with.items() if 2 * count > len(facts)]
        try:
            return get_scheme(detect_scheme(common, dataset.declared_labels, dataset.naming))
        except InputError:
            raise InputError(f"{dataset.root}: {error}") from error


def _refuse_contradiction(
    scheme: Scheme, cases_with: Mapping[int, int], facts: Sequence[CaseFacts], dataset: Dataset
) -> None:
    """Refuse a forced scheme that dataset.json denies, or that half of the label files or more do not fit."""
    if dataset.declared_labels:
        refuse_declared_otherwise(scheme, dataset.declared_labels, str(dataset.root / "dataset.json"))
    misfits = [fact for fact in facts if unknown_values(fact.label_counts, scheme)]
    if 2 * len(misfits) >= len(facts):
        raise InputError(
            f"{dataset.root}: label_scheme '{scheme.name}' contradicts the data: {len(misfits)} of {len(facts)} label "
            f"files hold {', '.join(map(str, unknown_values(cases_with, scheme)))}, which it lacks; "
            "pass --label_scheme with the data set's own."
        )
