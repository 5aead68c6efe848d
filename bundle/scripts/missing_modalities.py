"""Cases that lack a modality: segmented with that channel blank, where the knob ``missing_modalities`` says so.

A blank channel is 0 after normalisation, as the air around a brain is. A network that was trained on whole cases alone
has never seen one, and its answer may be far off.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.transforms import MapTransform

from scripts.brats_folders import Parts, find_groups, read_groups
from scripts.errors import InputError
from scripts.naming import Case, canonical_modality, listed, natural_key
from scripts.survey import refuse_or_skip
from scripts.validate import check_cases

logger = logging.getLogger(__name__)

REFUSE, BLANK = "refuse", "blank"
# Entry of an item: 1 for each channel that the case has, 0 for each that it lacks, float32 (C,).
PRESENT = "present"


def items_with_blanks(root: Path, modalities: Sequence[str], skip_bad_cases: bool) -> list[dict[str, Any]]:
    """Images to segment of per-patient BraTS folders, as :func:`scripts.cases.image_items` gives them, gaps allowed.

    In place of an absent file stands one that the case has, and ``present`` tells :class:`BlankAbsentd` so.

    Raises:
        InputError: the folder is absent or of another layout, a case name occurs twice, or an image is unusable.
    """
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; check dataset_dir.")
    groups = {} if (root / "dataset.json").is_file() else find_groups(root)
    if not groups:
        raise InputError(
            f"{root}: missing_modalities {BLANK} needs a file a modality, as in per-patient BraTS folders; set it to "
            f"{REFUSE} for other layouts."
        )
    # Cases with the same gaps are read as a data set of fewer modalities.
    alike: dict[tuple[str, ...], dict[tuple[Path, str], Parts]] = defaultdict(dict)
    for key, parts in groups.items():
        alike[tuple(name for name in modalities if canonical_modality(name) in parts)][key] = parts
    read = {present: read_groups(root, part, present or modalities) for present, part in alike.items()}
    with_labels = not any(dataset.unlabelled or dataset.image_problems for dataset in read.values())
    found: list[tuple[Case, tuple[str, ...]]] = []
    problems: dict[str, str] = {}
    for present, dataset in read.items():
        found += [(case, present) for case in (dataset.cases if with_labels else dataset.unlabelled)]
        problems |= dataset.problems if with_labels else dataset.image_problems
    refuse_namesakes(root, [case.name for case, _ in found])
    found.sort(key=lambda pair: natural_key(pair[0].name))
    total = len(found) + len(problems)
    for modalities_there in alike:
        checked = [
            Case(case.name, case.patient, case.image, None) for case, present in found if present == modalities_there
        ]
        facts = check_cases(checked, len(modalities_there))
        problems |= {
            case.name: "; ".join(fact.problems) for case, fact in zip(checked, facts, strict=True) if fact.problems
        }
    refuse_or_skip(root, problems, total, skip_bad_cases)
    return [_item(case, present, modalities) for case, present in found if case.name not in problems]


def refuse_namesakes(root: Path, names: Sequence[str]) -> None:
    """Refuse cases of one name, whose outputs would be one file.

    Raises:
        InputError: naming them.
    """
    if twice := sorted((name for name, count in Counter(names).items() if count > 1), key=natural_key):
        raise InputError(f"{root}: several cases are called {listed(twice)}; give each case a name of its own.")


def _item(case: Case, present: Sequence[str], modalities: Sequence[str]) -> dict[str, Any]:
    if absent := [name for name in modalities if name not in present]:
        logger.warning("%s: has no %s, which is left blank", case.name, ", ".join(absent))
    files = dict(zip(present, map(str, case.image), strict=True))
    return {
        "case": case.name,
        "patient": case.patient,
        "image": [files.get(name, str(case.image[0])) for name in modalities],
        PRESENT: np.array([name in files for name in modalities], np.float32),
    }


class BlankAbsentd(MapTransform):
    """Last step of preprocessing: sets the channels of absent modalities to 0; items that tell of none stay.

    Args:
        keys: entries of normalised images, (C, H, W, D); they are changed in place.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return ``data`` with blank channels."""
        if PRESENT in data:
            for key in self.key_iterator(data):
                for channel in np.flatnonzero(np.asarray(data[PRESENT]) == 0):
                    data[key][int(channel)] = 0
        return dict(data)


def with_blanks(transforms: Sequence[Any]) -> list[Any]:
    """The deterministic transforms of a training, and :class:`BlankAbsentd` after them."""
    return [*transforms, BlankAbsentd("image")]
