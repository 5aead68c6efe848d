"""The rules of postprocessing as data: a file beside the model, tuned on validation cases or written by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from scripts.checkpoints import trained
from scripts.errors import InputError
from scripts.files import read_json
from scripts.labels import REGIONS
from scripts.naming import listed

RULES_FILE = "postprocessing.json"
NO_RULES, TUNED = "none", "tuned"
THRESHOLD = 0.5
# Lists in the entry tuned_on: of models' weights, cases and patients.
ORIGIN = ("sha256", "cases", "patients")


@dataclasses.dataclass(frozen=True)
class Rules:
    """What is made of probabilities; the default is a threshold of 0.5 and nothing else.

    Attributes:
        thresholds: region to the probability above which a voxel belongs to it; 0.5 for regions that are not named. A
            voxel of a smaller region belongs to the larger ones as well, whatever theirs.
        min_component_mm3: region to the least volume of a connected component; 0 for regions that are not named.
        min_enhancing_mm3: least volume of all enhancing tumour of a case.
        sure_enhancing: mean probability of ET from which on enhancing tumour stays, however small; None exempts none.

    Raises:
        InputError: a value is out of its range.
    """

    thresholds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    min_component_mm3: Mapping[str, float] = dataclasses.field(default_factory=dict)
    min_enhancing_mm3: float = 0.0
    sure_enhancing: float | None = None

    def __post_init__(self) -> None:
        for name, table in (("thresholds", self.thresholds), ("min_component_mm3", self.min_component_mm3)):
            if not isinstance(table, Mapping) or not set(table) <= set(REGIONS):
                raise InputError(f"{name} is {table}, but a table of {', '.join(REGIONS)} is wanted; correct it.")
        probabilities = [*self.thresholds.values(), *([] if self.sure_enhancing is None else [self.sure_enhancing])]
        if not all(_is_number(value) and 0 < value < 1 for value in probabilities):
            raise InputError(
                f"thresholds {dict(self.thresholds)} and sure_enhancing {self.sure_enhancing} are no probabilities "
                "between 0 and 1; correct them."
            )
        volumes = [*self.min_component_mm3.values(), self.min_enhancing_mm3]
        if not all(_is_number(value) and value >= 0 for value in volumes):
            raise InputError(
                f"min_component_mm3 {dict(self.min_component_mm3)} and min_enhancing_mm3 {self.min_enhancing_mm3} are "
                "no volumes of 0 mm3 or more; correct them."
            )

    @property
    def look_at_volumes(self) -> bool:
        """Whether there is more to do than to compare with thresholds."""
        return self.min_enhancing_mm3 > 0 or any(self.min_component_mm3.values())

    def threshold_of(self, regions: Sequence[str]) -> torch.Tensor:
        """Thresholds in the order of ``regions``, float32 (R, 1, 1, 1)."""
        return torch.tensor([self.thresholds.get(region, THRESHOLD) for region in regions]).reshape(-1, 1, 1, 1)


def load_rules(
    choice: str,
    folders: Sequence[str],
    regions: Sequence[str] = REGIONS,
    settings: Mapping[str, Any] | None = None,
) -> Rules:
    """The rules that the knob ``postprocessing_rules`` names.

    Args:
        choice: ``none``; ``tuned`` for postprocessing.json in the model's folder; or a file of that form.
        folders: of the model, or of all members of an ensemble.
        regions: those of the model.
        settings: knobs by which probabilities are made now, such as the overlap of windows; None does not ask.

    Raises:
        InputError: a file is absent or wrong, was tuned for another model or under other settings, or the members have
            different ones.
    """
    if choice == NO_RULES:
        return Rules()
    if choice != TUNED:
        return read_rules(Path(choice), regions, settings=settings)
    found = [read_rules(Path(folder) / RULES_FILE, regions, trained(folder, "sha256"), settings) for folder in folders]
    for folder, rules in zip(folders, found, strict=True):
        if rules != found[0]:
            raise InputError(
                f"{Path(folder) / RULES_FILE}: has other rules than {Path(folders[0]) / RULES_FILE}; tune the members "
                "of an ensemble together with python -m scripts.tune_postprocessing."
            )
    return found[0]


def rules_to_score_with(
    choice: str,
    folders: Sequence[str],
    regions: Sequence[str],
    scored: Sequence[Mapping[str, Any]],
    evaluate_on: str,
    settings: Mapping[str, Any] | None = None,
) -> Rules:
    """:func:`load_rules` for an evaluation, which may score no case that the rules were tuned on.

    Args:
        choice: as there.
        folders: as there.
        regions: as there.
        scored: entries of the datalist, with ``case`` and ``patient``.
        evaluate_on: on ``validation``, the part that rules are tuned on, no case is refused.
        settings: as there.

    Raises:
        InputError: as there, or a scored case, or another of its patient, is among those tuned on.
    """
    rules = load_rules(choice, folders, regions, settings)
    if choice == NO_RULES or evaluate_on == "validation":
        return rules
    for file in [Path(folder) / RULES_FILE for folder in folders] if choice == TUNED else [Path(choice)]:
        origin = _tuned_on(file, read_json(file, "rules of postprocessing"))
        both = [entry["case"] for entry in scored if entry["case"] in origin["cases"]
                or entry["patient"] in origin["patients"]]  # fmt: skip
        if both:
            raise InputError(
                f"{file}: was tuned on {listed(both)}, which this evaluation scores; name rules that were tuned on "
                "other patients, or set postprocessing_rules to none."
            )
    return rules


def read_rules(
    file: Path,
    regions: Sequence[str] = REGIONS,
    sha256: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Rules:
    """Read a rules file: ``{"rules": {...}}`` with the attributes of :class:`Rules`, and ``tuned_on`` if it was tuned.

    Args:
        file: the JSON file.
        regions: those of the model.
        sha256: digest of the model's weights, which must be among those tuned on; None does not ask.
        settings: knobs by which probabilities are made now; those that the file notes must be the same.

    Raises:
        InputError: the file is absent, not of that form, names a region that the model lacks, or is another model's or
            other settings'.
    """
    content = read_json(file, "rules of postprocessing")
    known = {field.name for field in dataclasses.fields(Rules)}
    if not isinstance(content, dict) or not isinstance(content.get("rules"), dict) or set(content["rules"]) - known:
        raise InputError(
            f"{file}: is no rules file, which has an object 'rules' of {', '.join(sorted(known))}; correct it, or "
            "write one with python -m scripts.tune_postprocessing."
        )
    origin = _tuned_on(file, content)
    if sha256 is not None and sha256 not in origin["sha256"]:
        raise InputError(f"{file}: was tuned for other weights than those beside it; tune again, or name a rules file.")
    refuse_other_settings(file, content, settings or {})
    try:
        rules = Rules(**content["rules"])
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    missing = {*rules.thresholds, *rules.min_component_mm3} - set(regions)
    if "ET" not in regions and (rules.min_enhancing_mm3 > 0 or rules.sure_enhancing is not None):
        raise InputError(
            f"{file}: has min_enhancing_mm3 or sure_enhancing, rules for ET, but the model's regions are "
            f"{', '.join(regions)}; take them out."
        )
    if missing:
        raise InputError(
            f"{file}: has rules for {', '.join(sorted(missing))}, but the model's regions are {', '.join(regions)}; "
            "take them out."
        )
    return rules


def refuse_other_settings(file: Path, content: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse rules whose probabilities were made otherwise than they are now: their thresholds fit those alone.

    Args:
        file: named in the message.
        content: of the file. Rules written by hand note no settings, and are taken under all.
        settings: knob to value, now.

    Raises:
        InputError: a knob that both name differs, or the note is no table of knobs.
    """
    noted = content.get("tuned_on", {}).get("settings", {})
    if not isinstance(noted, Mapping):
        raise InputError(
            f"{file}: its tuned_on has settings {noted}, but a table of knobs is wanted; restore the file, or write it "
            "anew with python -m scripts.tune_postprocessing."
        )
    other = [name for name, value in settings.items() if name in noted and _plain(noted[name]) != _plain(value)]
    if other:
        tuned, now = (", ".join(f"{name} {_plain(of[name])}" for name in other) for of in (noted, settings))
        raise InputError(
            f"{file}: was tuned on probabilities made with {tuned}, but here it is {now}; set it as it was, tune again "
            "for these settings, or set postprocessing_rules to none."
        )


def _plain(value: Any) -> Any:
    """A knob as JSON keeps it; the order of axes means nothing."""
    return sorted(value, key=str) if isinstance(value, list | tuple) else value


def _tuned_on(file: Path, content: Mapping[str, Any]) -> dict[str, list[str]]:
    """Digests, cases and patients that rules were tuned on; empty lists of a file that does not tell.

    Raises:
        InputError: the entry ``tuned_on`` is not of the form that scripts.tune_postprocessing writes.
    """
    entry = content.get("tuned_on", {})
    found = {name: entry.get(name, []) for name in ORIGIN} if isinstance(entry, Mapping) else {"": None}
    if not all(isinstance(value, list) and all(isinstance(word, str) for word in value) for value in found.values()):
        raise InputError(
            f"{file}: its tuned_on is no object with lists of words {', '.join(ORIGIN)}; restore the file, or write it "
            "anew with python -m scripts.tune_postprocessing."
        )
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
