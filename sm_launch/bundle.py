"""What can be known of any MONAI Bundle from its files: which travel, what its configs define, what it needs.

No Python of the bundle is imported and no ``$`` expression of a config is evaluated: a plan never runs foreign code.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sm_launch.errors import LaunchError

# Made by running a bundle, never a part of it.
_MADE = {
    "models", "runs", "predictions", "eval", "evaluation", "by_label", "store", "cache", "outputs", "mlruns",
    "__pycache__",
}  # fmt: skip
# Images of patients and weights; pages and films show patients as well.
_DATA = (
    ".nii", ".nii.gz", ".npy", ".npz", ".dcm", ".mha", ".nrrd", ".pt", ".pth", ".ts", ".onnx", ".pyc", ".html", ".gif",
)  # fmt: skip
_CONFIG = (".json", ".yaml", ".yml")
_ID_SEPARATORS = ("::", "#")


@dataclass(frozen=True)
class BundleFile:
    """A file of a bundle: its path in the bundle, with /, its size in bytes and its SHA-256 in hex."""

    name: str
    path: Path
    size: int
    sha256: str


@dataclass(frozen=True)
class Bundle:
    """A bundle's folder.

    Attributes:
        root: the folder.
        metadata: configs/metadata.json.
        files: what travels, sorted.
    """

    root: Path
    metadata: Mapping[str, Any]
    files: tuple[BundleFile, ...]


def read_bundle(folder: str | Path) -> Bundle:
    """Look at a bundle's folder.

    Raises:
        LaunchError: it is no bundle, or a file in it cannot be read.
    """
    root = Path(folder)
    described = root / "configs" / "metadata.json"
    if not root.is_dir():
        raise LaunchError(f"{root}: there is no such folder; set bundle to the folder that holds configs/.")
    if not described.is_file():
        raise LaunchError(
            f"{root}: is no MONAI Bundle, since configs/metadata.json is missing; set bundle to the folder that holds "
            "configs/, or make one by 'python -m monai.bundle init_bundle'."
        )
    metadata = _parsed(described)
    files = tuple(_file(root, path) for path in sorted(root.rglob("*")) if path.is_file() and _travels(root, path))
    return Bundle(root, metadata, files)


def merged(bundle: Bundle, configs: Sequence[str]) -> dict[str, Any]:
    """The content of config files, later ones laid over earlier ones as ``monai.bundle run`` does.

    Args:
        bundle: the bundle.
        configs: paths in it.

    Raises:
        LaunchError: a file is absent, stays here or is broken, or changes what no earlier one defines.
    """
    content: dict[str, Any] = {}
    for config in configs:
        if why := missing(bundle, config):
            raise LaunchError(f"{config}: {why}")
        for key, value in _parsed(bundle.root / config).items():
            _lay_over(content, key, value, config)
    return content


def missing(bundle: Bundle, config: str) -> str:
    """Why a job would not find a config, and what to do, as the rest of a sentence; empty where the config travels."""
    names = {file.name for file in bundle.files}
    if PurePosixPath(config).as_posix() in names:
        return ""
    file = bundle.root / config
    if not file.is_file():
        there = sorted(name for name in names if name.startswith("configs/") and name.endswith(_CONFIG))
        near = difflib.get_close_matches(config, there, n=1)
        return (
            f"is not in the bundle {bundle.root}; {'did you mean' if near else 'there are'} "
            f"{near[0] + '?' if near else ', '.join(there) + '.'}"
        )
    inside = os.path.relpath(file.resolve(), bundle.root.resolve()).replace(os.sep, "/")
    if inside in names:
        return f"is no path in the bundle {bundle.root}, where jobs look for it; write {inside}."
    return (
        f"is not among the files of the bundle {bundle.root} that travel to AWS; copy it into the bundle's configs/ "
        f"and write configs/{file.name.lstrip('.')}."
    )


def define(content: Mapping[str, Any], key: str) -> bool:
    """Whether a merged config has the value of an id such as ``train::handlers::0::name``."""
    try:
        _parent(content, key)[_last(key, _parent(content, key))]
    except (KeyError, IndexError, TypeError, ValueError):
        return False
    return True


def is_argument(content: Mapping[str, Any], key: str) -> bool:
    """Whether an id may be an argument, not given so far, of a component: network_def::norm."""
    try:
        parent = _parent(content, key)
    except (KeyError, IndexError, TypeError, ValueError):
        return False
    return isinstance(parent, dict) and "_target_" in parent


def check_overrides(content: Mapping[str, Any], overrides: Mapping[str, Any], configs: Sequence[str]) -> None:
    """Find an override of what is not there, which MONAI would take without effect.

    Raises:
        LaunchError: one is not defined in the configs; it names the nearest.
    """
    for key in overrides:
        # A plus adds, which is meant to name what is not there or to extend what is.
        if not (key.startswith("+") or define(content, key) or is_argument(content, key)):
            near = difflib.get_close_matches(key, _ids(content), n=1)
            meant = f"did you mean '{near[0]}'?" if near else "write +" + key + " to add it."
            raise LaunchError(f"overrides: '{key}' is not defined in {', '.join(configs)}; {meant}")


def requirements(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """pip requirements of a bundle's metadata, less those that the PyTorch images carry.

    Raises:
        LaunchError: the versions are no mapping of text to text.
    """
    carried = {"torch", "pytorch", "numpy", "python"}
    needs = {"monai": metadata.get("monai_version")}
    for section in ("optional_packages_version", "required_packages_version"):
        needs |= _versions(metadata, section)
    exact = {name: version for name, version in needs.items() if version and name.lower() not in carried}
    return tuple(f"{name}=={version}" for name, version in sorted(exact.items()))


def _versions(metadata: Mapping[str, Any], section: str) -> Mapping[str, str]:
    found = metadata.get(section) or {}
    if not isinstance(found, Mapping) or not all(isinstance(text, str) for pair in found.items() for text in pair):
        raise LaunchError(
            f"configs/metadata.json: {section} is {json.dumps(found)} where names with versions are wanted, such as "
            '{"nibabel": "5.3.2"}; mend it.'
        )
    return found


def _parsed(file: Path) -> dict[str, Any]:
    """A JSON or YAML file that holds keys."""
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix in (".yaml", ".yml"):
            import yaml

            content = yaml.safe_load(text)
        else:
            content = json.loads(text)
    except json.JSONDecodeError as error:
        raise LaunchError(f"{file}: is broken JSON in line {error.lineno} ({error.msg}); mend it.") from error
    except (OSError, ValueError) as error:
        raise LaunchError(f"{file}: cannot be read ({error}); mend it.") from error
    except Exception as error:
        # PyYAML's errors have no base class that can be named before it is imported.
        if type(error).__module__.split(".")[0] != "yaml":
            raise
        raise LaunchError(f"{file}: is broken YAML ({' '.join(str(error).split())}); mend it.") from error
    if not isinstance(content, dict):
        raise LaunchError(f"{file}: holds no keys; a config of a bundle begins with a brace.")
    return content


def _travels(root: Path, path: Path) -> bool:
    """Whether a file is a part of the bundle rather than made by running it, data or hidden."""
    parts = path.relative_to(root).parts
    hidden = any(part.startswith(".") for part in parts)
    return not (hidden or parts[0] in _MADE or "__pycache__" in parts or path.name.lower().endswith(_DATA))


def _file(root: Path, path: Path) -> BundleFile:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LaunchError(
            f"{path}: cannot be read ({error.strerror}); mend it or take it out of the bundle."
        ) from error
    return BundleFile(path.relative_to(root).as_posix(), path, len(data), hashlib.sha256(data).hexdigest())


def _parts(key: str) -> list[str]:
    for separator in _ID_SEPARATORS:
        key = key.replace(separator, "\0")
    return key.split("\0")


def _parent(content: Any, key: str) -> Any:
    for part in _parts(key)[:-1]:
        content = content[int(part)] if isinstance(content, list) else content[part]
    return content


def _last(key: str, parent: Any) -> Any:
    last = _parts(key)[-1]
    return int(last) if isinstance(parent, list) else last


def _lay_over(content: dict[str, Any], key: str, value: Any, config: str) -> None:
    """One entry of a later config: a plain key sets, one with a plus extends a list or a dict."""
    plain = key.removeprefix("+")
    try:
        parent = _parent(content, plain)
        last = _last(plain, parent)
        if key == plain or not define(content, plain):
            parent[last] = value
        elif isinstance(parent[last], dict):
            parent[last] = parent[last] | value
        else:
            parent[last] = parent[last] + value
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise LaunchError(
            f"{config}: '{key}' changes what no earlier config defines; name that config before it."
        ) from error


def _ids(content: Any, prefix: str = "") -> list[str]:
    """All ids of a config, for naming the nearest."""
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [one for k, v in inside for one in (f"{prefix}{k}", *_ids(v, f"{prefix}{k}::"))]
