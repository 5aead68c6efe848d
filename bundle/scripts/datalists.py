"""The datalist: a JSON file that says which case is in which part of a split, in the manner of MONAI and the Decathlon.

Paths in it are relative to its ``dataset_dir``, with forward slashes, so that it can be moved along with the data.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.files import read_json
from scripts.labels import get_scheme
from scripts.naming import Case, listed
from scripts.splits import PARTS


def entries(cases: Sequence[Case], root: Path, replicate: int = 1) -> list[dict[str, Any]]:
    """Cases as a datalist writes them, each ``replicate`` times over the same files.

    Copies rehearse a larger data set; they are called ``<case>_copy001`` and so on, and share their patient.
    """
    written = []
    for case in cases:
        image = [_relative(path, root) for path in case.image]
        entry = {"case": case.name, "patient": case.patient, "image": image[0] if len(image) == 1 else image}
        if case.label is not None:
            entry["label"] = _relative(case.label, root)
        if replicate == 1:
            written.append(entry)
        else:
            written += [entry | {"case": f"{case.name}_copy{number:03d}"} for number in range(1, replicate + 1)]
    return written


def items(
    datalist: Mapping[str, Any], section: str, dataset_dir: str | os.PathLike[str] | None = None
) -> list[dict[str, Any]]:
    """One part of a datalist with absolute paths, as MONAI's datasets take it.

    Args:
        datalist: as :func:`scripts.cases.prepare_datalist` makes it.
        section: ``training``, ``validation`` or ``test``.
        dataset_dir: where the data lies now; None takes the datalist's own folder.

    Raises:
        InputError: a file is not there.
    """
    root = Path(dataset_dir or datalist["dataset_dir"]).expanduser().resolve()
    found = [_absolute(entry, root) for entry in datalist[section]]
    missing = sorted({path for item in found for path in _paths(item) if not Path(path).is_file()})
    if missing:
        raise InputError(
            f"{root}: {len(missing)} files of the datalist's {section} part are not there ({listed(missing)}); "
            "set dataset_dir to the folder that the datalist was made from."
        )
    return found


def load_datalist(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a datalist and check its form.

    Raises:
        InputError: it is not a datalist, or a case or patient is in two parts of it.
    """
    content = read_json(path, "datalist")
    wanted = {"dataset_dir": str, "label_scheme": str, **dict.fromkeys(PARTS, list)}
    wrong = [
        key for key, kind in wanted.items() if not isinstance(content, dict) or not isinstance(content.get(key), kind)
    ]
    if wrong:
        raise InputError(f"{path}: not a datalist, it lacks {listed(wrong)}; make one with python -m scripts.cases.")
    get_scheme(content["label_scheme"])
    side: dict[str, str] = {}
    for part in PARTS:
        names = set()
        for entry in content[part]:
            if not isinstance(entry, dict) or not {"case", "patient", "image", "label"} <= set(entry):
                raise InputError(f"{path}: {part} entry {entry} lacks case, patient, image or label; correct it.")
            _check_entry(entry, str(path))
            if entry["case"] in names:
                raise InputError(f"{path}: case {entry['case']} is listed twice in {part}; remove one.")
            names.add(entry["case"])
            if side.setdefault(entry["patient"], part) != part:
                raise InputError(
                    f"{path}: patient {entry['patient']} is in both {side[entry['patient']]} and {part}; "
                    "keep a patient in one part."
                )
    return content


def _check_entry(entry: Mapping[str, Any], path: str) -> None:
    """Texts where names and paths are wanted.

    Raises:
        InputError: something else is there.
    """
    image = entry["image"]
    images = image if isinstance(image, list) and image else [image]
    named = [("image", name) for name in images] + [(key, entry[key]) for key in ("case", "patient", "label")]
    for key, value in named:
        if not isinstance(value, str) or not value:
            kind = "a path, or a list of them," if key == "image" else "a text"
            raise InputError(f"{path}: case {entry['case']} has {key} {value!r}, where {kind} is wanted; correct it.")


def _absolute(entry: Mapping[str, Any], root: Path) -> dict[str, Any]:
    image = entry["image"]
    item = dict(entry)
    item["image"] = str(root / image) if isinstance(image, str) else [str(root / name) for name in image]
    if "label" in entry:
        item["label"] = str(root / entry["label"])
    return item


def _paths(item: Mapping[str, Any]) -> list[str]:
    images = [item["image"]] if isinstance(item["image"], str) else item["image"]
    return [*images, *([item["label"]] if "label" in item else [])]


def _relative(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
