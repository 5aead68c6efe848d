"""The layout of the BraTS releases: one file a modality and case, in folders of any nesting (HGG, LGG, ...).

``<case>_flair|_t1|_t1ce|_t2|_seg`` from 2017 to 2022, ``<case>-t2f|-t1n|-t1c|-t2w|-seg`` from 2023, ``.nii`` or
``.nii.gz``. Modalities are told by name and stacked in the order asked for, never by alphabet.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from scripts.naming import MODALITY_ALIASES, Dataset, canonical_modality, is_nifti, make_case

Parts = dict[str, list[Path]]  # canonical modality, or "seg", to its files

_LABEL_SUFFIXES = ("seg", "segm")
_SUFFIXES = [alias for aliases in MODALITY_ALIASES.values() for alias in aliases] + list(_LABEL_SUFFIXES)
_FILE = re.compile(rf"^(?P<case>.+)(?P<joint>[_-])(?P<part>{'|'.join(_SUFFIXES)})\.nii(\.gz)?$", re.IGNORECASE)
# Enough for an unpacked release (release/HGG/case); little enough not to walk a whole disk.
_MAX_DEPTH = 4


def find_groups(root: Path) -> dict[tuple[Path, str], Parts]:
    """Files below ``root`` named after the pattern, grouped by folder and case.

    A label counts only beside its images: predictions that lie elsewhere below ``root`` are no truth.
    """
    groups: dict[tuple[Path, str], Parts] = defaultdict(lambda: defaultdict(list))
    for folder, subfolders, names in os.walk(root):
        here = Path(folder)
        if len(here.relative_to(root).parts) >= _MAX_DEPTH:
            subfolders.clear()
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            match = _FILE.match(name)
            if match and is_nifti(here / name):
                part = match["part"].lower()
                groups[here, match["case"]]["seg" if part in _LABEL_SUFFIXES else canonical_modality(part)].append(
                    here / name
                )
    lone_labels = {key: parts for key, parts in groups.items() if set(parts) == {"seg"}}
    for key in lone_labels:
        del groups[key]
    for (folder, _), parts in lone_labels.items():
        # BraTS 2020's case 355 calls its label W39_1998.09.19_Segm.nii: it belongs to the one case in its folder.
        beside = [key for key in groups if key[0] == folder]
        if len(beside) == 1 and "seg" not in groups[beside[0]]:
            groups[beside[0]]["seg"] = parts["seg"]
    return dict(groups)


def read_groups(root: Path, groups: dict[tuple[Path, str], Parts], modalities: Sequence[str]) -> Dataset:
    """The cases of :func:`find_groups`, each image in the order of ``modalities``."""
    wanted = {canonical_modality(name): name for name in modalities}
    occurrences = Counter(case for _, case in groups)
    dataset = Dataset(root, "brats", naming=_naming(groups))
    for (folder, name), parts in groups.items():
        missing = [shown for key, shown in wanted.items() if key not in parts]
        ambiguous = [files for key, files in parts.items() if len(files) > 1 and key in {*wanted, "seg"}]
        # Where a name occurs in two folders, problems are told apart by folder.
        shown = name if occurrences[name] == 1 else (folder / name).relative_to(root).as_posix()
        problems = dataset.problems if "seg" in parts else dataset.image_problems
        if missing:
            problems[shown] = f"{folder}: no file for {', '.join(missing)} (wanted: {', '.join(modalities)})"
        elif ambiguous:
            files = ", ".join(sorted(path.name for path in ambiguous[0]))
            problems[shown] = f"{folder}: several files for one modality ({files})"
        elif "seg" in parts:
            dataset.cases.append(make_case(name, tuple(parts[key][0] for key in wanted), parts["seg"][0]))
        else:
            dataset.unlabelled.append(make_case(name, tuple(parts[key][0] for key in wanted)))
    return dataset


def _naming(groups: dict[tuple[Path, str], Parts]) -> str | None:
    """The release that the names come from; paediatric cases have label ids of their own (BraTS-PED 2024)."""
    if any("-PED-" in case.upper() for _, case in groups):
        return "brats-ped"
    files = [file for parts in groups.values() for key, found in parts.items() if key != "seg" for file in found]
    joints = {match["joint"] for file in files if (match := _FILE.match(file.name))}
    return {"_": "brats2018", "-": "brats2023"}.get(joints.pop()) if len(joints) == 1 else None
