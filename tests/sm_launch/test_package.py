"""sm_launch by itself: what its own pyproject.toml packs, and what its modules need."""

from __future__ import annotations

import ast
import re
import sys
from fnmatch import fnmatch
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = ROOT / "sm_launch"
# In a container or an extra: the serving image has its own requirements, sdk.py is for those who have the SDK.
ELSEWHERE = {
    "fastapi",
    "uvicorn",
    "starlette",
    "torch",
    "numpy",
    "nibabel",
    "monai",
    "ignite",
    "PIL",
    "sagemaker",
    "IPython",
}


def description() -> dict:
    return tomllib.loads((LAUNCHER / "pyproject.toml").read_text(encoding="utf-8"))


def test_everything_that_is_needed_is_packed() -> None:
    tool = description()["tool"]["setuptools"]
    folders = {name: LAUNCHER / tool["package-dir"][name] for name in tool["packages"]}
    packed = {path for folder in folders.values() for path in folder.glob("*.py")}
    for name, patterns in tool["package-data"].items():
        packed |= {path for pattern in patterns for path in folders[name].glob(pattern)}
    needed = {path for ending in ("py", "json", "yaml") for path in LAUNCHER.rglob(f"*.{ending}")}
    needed |= set((LAUNCHER / "container" / "serve").glob("[Dr]*"))
    assert {path for path in needed if "build" not in path.relative_to(LAUNCHER).parts} <= packed


def test_it_needs_boto3_and_yaml_alone() -> None:
    wanted = {re.split(r"[<>=]", line)[0] for line in description()["project"]["dependencies"]}
    assert wanted == {"boto3", "pyyaml"}
    found = set()
    for file in LAUNCHER.rglob("*.py"):
        if fnmatch(file.relative_to(LAUNCHER).as_posix(), "container/*"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            found |= {name.split(".")[0] for name in names}
    assert found - set(sys.stdlib_module_names) - ELSEWHERE == {"sm_launch", "boto3", "botocore", "yaml"}


def test_nothing_of_a_bundle_is_imported() -> None:
    for file in LAUNCHER.rglob("*.py"):
        assert not re.search(r"^\s*(from|import) (scripts|labs|bundle)\b", file.read_text("utf-8"), re.MULTILINE), file
