"""What made a store: a readable description of the deterministic transforms, and its digest."""

from __future__ import annotations

import enum
import functools
import hashlib
import json
import math
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose

from scripts.errors import InputError
from scripts.files import read_json, write_json
from scripts.patches import LOCATIONS_PER_CLASS

RECIPE_FILE = "store.json"
# Raised when the same transforms would be stored differently.
FORMAT = 1
# State of a transform that has no part in its result.
_IGNORED = {"R", "_lazy", "lazy", "_do_transform", "allow_missing_keys", "progress"}


def describe_recipe(transforms: Sequence[Any] | Compose) -> dict[str, Any]:
    """Everything that the voxels of a store depend on, as plain JSON: the same on every machine."""
    chain = transforms.transforms if isinstance(transforms, Compose) else transforms
    return {
        "format": FORMAT,
        "locations_per_class": LOCATIONS_PER_CLASS,
        "transforms": [describe(transform) for transform in chain],
    }


def digest_recipe(recipe: Mapping[str, Any]) -> str:
    """SHA-256 of a description, in hexadecimal."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def describe(value: Any) -> Any:
    """A value as plain JSON: an object as its class and what was set on it, a function by its name."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # NaN would differ from itself
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (np.ndarray, torch.Tensor, np.generic)):
        return describe(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): describe(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        entries = [describe(entry) for entry in value]
        return sorted(entries, key=str) if isinstance(value, (set, frozenset)) else entries
    if isinstance(value, (torch.dtype, np.dtype, torch.device)):
        return str(value)
    if isinstance(value, slice):
        return ["slice", describe(value.start), describe(value.stop), describe(value.step)]
    if isinstance(value, functools.partial):
        return {"partial": describe(value.func), "args": describe(value.args), "keywords": describe(value.keywords)}
    if isinstance(value, types.FunctionType):
        return _describe_function(value)
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if not hasattr(value, "__dict__"):
        raise InputError(
            f"{value!r}: a {type(value).__name__} in the deterministic transforms cannot be described, so a stale "
            "store could not be told; leave it out, or train with configs/data/persistent.json."
        )
    state = {key: describe(entry) for key, entry in sorted(vars(value).items()) if key not in _IGNORED}
    return {"class": type(value).__qualname__, **state}


def _describe_function(function: types.FunctionType) -> Any:
    """A function that a module defines by its name; one made on the spot, which has no name of its own, by its code."""
    name = f"{function.__module__}.{function.__qualname__}"
    if "<" not in function.__qualname__:
        return name
    code = function.__code__
    constants = [repr(value) for value in code.co_consts if not isinstance(value, types.CodeType)]
    kept = [describe(cell.cell_contents) for cell in function.__closure__ or ()]
    return {"function": name, "code": code.co_code.hex(), "constants": constants, "names": code.co_names, "kept": kept}


def claim(store_dir: Path, recipe: Mapping[str, Any], replace: bool = False) -> None:
    """Make ``store_dir`` a store of this recipe, or see that it is one.

    Args:
        store_dir: the folder.
        recipe: as :func:`describe_recipe` makes it.
        replace: let it be the store of this recipe from now on; its cases are then stale until each is made anew.

    Raises:
        InputError: it is the store of another recipe, or a folder of other things.
    """
    file = store_dir / RECIPE_FILE
    if not file.is_file():
        if store_dir.is_dir() and any(not path.name.startswith(".") for path in store_dir.iterdir()):
            raise InputError(
                f"{store_dir}: has files but no {RECIPE_FILE}, so it is no store; give store_dir a new folder."
            )
        write_json(file, recipe)
        return
    kept = read_json(file, "recipe of the store")
    if kept == json.loads(json.dumps(recipe)):
        return
    if not replace:
        raise InputError(
            f"{store_dir}: is stale, it was made by other transforms ({difference(kept, recipe)}); give another "
            "store_dir, or make it anew by python -m scripts.store --rebuild."
        )
    write_json(file, recipe)


def difference(kept: Any, wanted: Any, at: str = "") -> str:
    """The first place where two descriptions differ, in words."""
    if isinstance(kept, Mapping) and isinstance(wanted, Mapping):
        for key in (*kept, *(key for key in wanted if key not in kept)):
            if kept.get(key) != wanted.get(key):
                return difference(kept.get(key), wanted.get(key), f"{at}.{key}" if at else str(key))
    if isinstance(kept, list) and isinstance(wanted, (list, tuple)) and len(kept) == len(wanted):
        for index, (old, new) in enumerate(zip(kept, wanted, strict=True)):
            if old != new:
                name = old.get("class", index) if isinstance(old, Mapping) else index
                return difference(old, new, f"{at}[{name}]")
    return f"{at}: {_short(kept)} there, {_short(wanted)} wanted"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
