"""What a search makes of the bundle's config: its knobs checked, its data prepared once, and a trial's overrides."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from scripts.errors import InputError, find_input_error
from scripts.files import read_json, write_json
from scripts.knob_ranges import refuse_bad_knobs
from scripts.overrides import argument_names, refuse_unknown_items, shipped_items
from scripts.runs import plain_knobs

# Set by the search itself: a trial's folders, and one split for all.
OWN = (
    "bundle_root",
    "output_dir",
    "run_name",
    "ckpt_dir",
    "dataset_dir",
    "datalist_file",
    "epochs",
    "backend",
    "resume",
)
DATALIST_FILE = "datalist.json"
TRAIN, PARALLEL = "configs/train.json", "configs/multi_gpu_train.json"


def merged(bundle_root: Path, configs: Sequence[str], overrides: Mapping[str, Any]) -> ConfigParser:
    """The config that every trial starts from: train.json, ``configs`` over it, and the shared overrides.

    Raises:
        InputError: a file is absent or cannot be merged, or an override names nothing.
    """
    files = [bundle_root / name for name in (TRAIN, *configs)]
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}: there is no such config; name it relative to the bundle, as configs/....json.")
    parser = ConfigParser()
    try:
        parser.read_config([str(file) for file in files])
    except ValueError as error:
        raise InputError(f"{files[-1]}: cannot be merged over train.json ({error}); check the file.") from error
    parser["bundle_root"] = str(bundle_root)
    refuse_unknown(parser, overrides)
    for name, value in overrides.items():
        parser[name] = value
    return parser


def refuse_unknown(parser: ConfigParser, ids: Sequence[str] | Mapping[str, Any]) -> None:
    """Refuse ids that name nothing in the config, which is what a misspelt knob is.

    What the config leaves at its default, such as ``optimizer::amsgrad``, is known by the object's signature.

    Raises:
        InputError: naming the id and the nearest known one, or that the search sets it itself.
    """
    for name in ids:
        if name in OWN:
            raise InputError(f"'{name}' is set by the search itself; leave it out, and see --help for its option.")
        *path, last = name.split("::")
        level: Any = parser.get()
        for step in path:
            level = _inside(level, step, name)
        known = _names(level)
        if known is not None and last not in known:
            near = difflib.get_close_matches(last, known, n=1)
            hint = f"did you mean '{'::'.join([*path, near[0]])}'?" if near else f"known there are {', '.join(known)}."
            raise InputError(f"'{name}' names nothing in the config; {hint}")


def _inside(level: Any, step: str, name: str) -> Any:
    """One level further into the config."""
    if isinstance(level, Mapping) and step in level:
        return level[step]
    if isinstance(level, list) and step.isdigit() and int(step) < len(level):
        return level[int(step)]
    raise InputError(f"'{name}' names nothing in the config, which has no '{step}'; check it against train.json.")


def _names(level: Any) -> list[str] | None:
    """Names that may be set at a place of the config; None where any may, as for an object that takes any keyword."""
    if isinstance(level, list):
        return [str(index) for index in range(len(level))]
    if not isinstance(level, Mapping):
        return []
    names = [key for key in level if not key.startswith("_")]
    if "_target_" not in level:
        return names
    arguments = argument_names(str(level["_target_"]))
    return None if arguments is None else list(dict.fromkeys([*names, *arguments]))


def refuse_bad_trials(bundle_root: Path, parser: ConfigParser, recipes: Iterable[Mapping[str, Any]]) -> None:
    """Refuse before anything is made what would end a trial before its first epoch.

    Args:
        bundle_root: the bundle.
        parser: of :func:`merged`.
        recipes: what each trial overrides.

    Raises:
        InputError: a knob is out of its range, or nothing reads an item of a config or of a trial.
    """
    shipped = shipped_items(bundle_root / "configs")
    for recipe in recipes:
        trial = ConfigParser(deepcopy(parser.get()))
        for name, value in recipe.items():
            trial[name] = value
        trial.parse()
        refuse_unknown_items(trial.get(), shipped)
        refuse_bad_knobs(plain_knobs(trial))


def split(parser: ConfigParser, out: Path, dataset_dir: str | None) -> dict[str, Any]:
    """The split of all trials: the one that the search has, or a new one; the phantom is made, the cases are checked.

    Args:
        parser: of :func:`merged`; it is told the data.
        out: the search's folder, in which nothing is written.
        dataset_dir: the data, None for the config's own.

    Raises:
        InputError: the data are unusable.
    """
    if dataset_dir is not None:
        parser["dataset_dir"] = dataset_dir
    if (out / DATALIST_FILE).is_file():
        return read_json(out / DATALIST_FILE, "datalist")
    return _parsed(parser, "datalist")


def prepare(parser: ConfigParser, out: Path, datalist: Mapping[str, Any]) -> Path:
    """Do once what the trials would all do at the same time: write the split, fill the store.

    Args:
        parser: of :func:`merged`.
        out: the search's folder, which gets ``datalist.json``.
        datalist: of :func:`split`.

    Returns:
        The datalist's file, which every trial uses.

    Raises:
        InputError: the store cannot be filled, or a file cannot be written.
    """
    target = out / DATALIST_FILE
    if not target.is_file():
        write_json(target, datalist)
    parser["datalist_file"] = str(target)
    if "store_dir" in parser:
        for part in ("train", "validate"):
            _parsed(parser, f"{part}::dataset")
    return target


def _parsed(parser: ConfigParser, name: str) -> Any:
    try:
        return parser.get_parsed_content(name)
    except Exception as error:
        # MONAI wraps what goes wrong inside the config in errors of its own.
        raise find_input_error(error) or error from error


def trial_overrides(folder: Path, recipe: Mapping[str, Any], datalist: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The override file of one trial.

    Args:
        folder: of the trial; its name is the run's.
        recipe: hyper-parameters and epochs.
        datalist: the split, for its data's folder.
        file: where the split is.

    Returns:
        The recipe, the trial's own folders, and that it goes on where it was interrupted.
    """
    return {
        **recipe, "dataset_dir": datalist["dataset_dir"], "datalist_file": str(file),
        "output_dir": str(folder.parent), "run_name": folder.name, "ckpt_dir": str(folder / "models"), "resume": "auto",
    }  # fmt: skip


def as_override(bundle_root: Path, configs: Sequence[str], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """One override file that does what ``configs`` and ``overrides`` do in turn.

    Raises:
        InputError: a config cannot be read.
    """
    whole: dict[str, Any] = {}
    for name in configs:
        for key, value in json.loads((bundle_root / name).read_text(encoding="utf-8")).items():
            earlier = whole.pop(key, None)
            if key.startswith("+") and isinstance(earlier, dict):
                value = earlier | value
            elif key.startswith("+") and isinstance(earlier, list):
                value = earlier + value
            whole[key] = value
    return {**{key: value for key, value in whole.items() if key not in overrides}, **overrides}
