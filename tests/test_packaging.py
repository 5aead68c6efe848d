"""pyproject.toml, lock files, environment.yml, licence and imports say the same."""

from __future__ import annotations

import ast
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "bundle"
LOCKS = {
    "bundle.txt": (),
    "test.txt": ("dev", "track", "tune", "launch", "serve", "labs"),
    "bench.txt": ("bench", "tune"),
}
EXTRAS = {"labs", "jupyter", "launch", "serve", "tune", "track", "bench", "dev"}
# The packages of an import name, where the two differ.
DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml", "ignite": "pytorch-ignite", "sklearn": "scikit-learn"}
EXTRA_OF = {"tracker_mlflow.py": "track", "tracker_wandb.py": "track", "cluster.py": "tune"}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(lines: list[str]) -> dict[str, Requirement]:
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(one.name): one for one in parsed}


def locked(*names: str) -> dict[str, Requirement]:
    """The lines of lock files; a package that stands in two of them, or twice, is an error."""
    lines = [line for name in names for line in (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()]
    kept = [line for line in lines if line and not line.startswith("#")]
    parsed = requirements(kept)
    assert len(parsed) == len(kept), "a package is locked twice"
    return parsed


def exact_version(one: Requirement) -> Version:
    (spec,) = one.specifier
    assert spec.operator == "=="
    version = Version(spec.version)
    assert version.local is None, f"{one} can be installed from one index only"
    return version


def test_project_has_the_extras_and_the_licence() -> None:
    description = project()
    assert set(description["optional-dependencies"]) == EXTRAS
    assert description["license"] == "Apache-2.0"
    assert description["requires-python"] == ">=3.10,<3.13"


def test_bundle_carries_the_same_licence() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text
    assert (BUNDLE / "LICENSE").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_satisfies_the_project(lock: str) -> None:
    description = project()
    wanted = list(description["dependencies"])
    for extra in LOCKS[lock]:
        wanted += description["optional-dependencies"][extra]
    versions = {name: exact_version(one) for name, one in locked(*{"bundle.txt", lock}).items()}
    for name, one in requirements(wanted).items():
        assert name in versions, f"{name} is not locked"
        assert versions[name] in one.specifier, f"{name} is locked at {versions[name]}, wanted {one.specifier}"


def distribution(name: str) -> metadata.Distribution:
    """An installed package; not one of the copies that setuptools, once imported, puts on the path for itself."""
    for found in metadata.distributions(name=name):
        if "_vendor" not in Path(str(found.locate_file(""))).parts:
            return found
    raise metadata.PackageNotFoundError(name)


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12"])
def test_lock_is_closed(python: str) -> None:
    """What a locked package needs is locked at a version that it takes, on every Python and system.

    The metadata of the packages installed here is read; PyTorch's CUDA packages are its own affair.
    """
    lock = locked("bundle.txt", "test.txt")
    version = {"python_version": python, "python_full_version": f"{python}.9"}
    systems = [{"sys_platform": s, "platform_system": n} for s, n in {"linux": "Linux", "win32": "Windows"}.items()]
    for name in lock:
        try:
            installed = distribution(name)
        except metadata.PackageNotFoundError:
            assert lock[name].marker, f"{name} is locked and not installed"
            continue
        if Version(installed.version).public != str(exact_version(lock[name])):
            pytest.skip(f"{name} {installed.version} is installed, which is not the locked one; run run.py test")
        assert Version(f"{python}.9") in SpecifierSet(installed.metadata.get("Requires-Python") or ""), name
        extras = ["fire"] if name == "monai" else [""]
        for variables in ({**version, **system} for system in systems):
            if lock[name].marker and not lock[name].marker.evaluate(variables):
                continue
            for line in installed.requires or []:
                one = Requirement(line)
                needed = canonicalize_name(one.name)
                if needed.startswith(("nvidia-", "cuda-", "triton")):
                    continue
                if one.marker and not any(one.marker.evaluate({**variables, "extra": e}) for e in extras):
                    continue
                assert needed in lock, f"{name} needs {needed}, which is not locked"
                assert exact_version(lock[needed]) in one.specifier, f"{name} needs {one}"
                marker: Marker | None = lock[needed].marker
                assert marker is None or marker.evaluate(variables), f"{name} needs {needed} on {variables}"


def test_jupyterlab_stands_on_the_locks() -> None:
    """JupyterLab's lock adds to the others, and keeps out of them what slows every import of monai.bundle."""
    added = locked("jupyter.txt")
    assert not set(added) & set(locked("bundle.txt", "test.txt"))
    wanted = requirements(project()["optional-dependencies"]["jupyter"])
    assert all(exact_version(added[name]) in one.specifier for name, one in wanted.items())
    assert "rfc3987-syntax" in added


def test_second_monai_is_the_oldest_that_the_project_takes() -> None:
    (one,) = locked("monai152.txt").values()
    floor = next(s.version for s in requirements(project()["dependencies"])["monai"].specifier if s.operator == ">=")
    assert (one.name, exact_version(one)) == ("monai", Version(floor))


def test_second_sdk_stands_beside_the_lock() -> None:
    """The SDK's folder shadows no locked package, and nobody's environment asks for its gigabyte."""
    overlay = locked("sdk.txt")
    assert {"sagemaker-core", "sagemaker-train"} <= set(overlay)
    for one in overlay.values():
        exact_version(one)
    assert not set(overlay) & set(locked("bundle.txt", "test.txt"))
    extras = [name for extra in project()["optional-dependencies"].values() for name in requirements(extra)]
    assert not {"sagemaker", *overlay} & set(extras)


def test_conda_environment_repeats_the_project() -> None:
    description = project()
    wanted = list(description["dependencies"])
    for name, extra in description["optional-dependencies"].items():
        # The opponents of the benchmarks are nobody's environment to work in.
        wanted += extra if name != "bench" else []
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    outer, inner = text.split("- pip:\n")
    entries = re.findall(r"^\s+- (.+)$", inner, flags=re.MULTILINE)
    assert len(entries) == len(set(entries))
    assert {str(Requirement(entry)) for entry in entries} == {str(Requirement(line)) for line in wanted}
    conda_python = re.search(r"- python=(3\.\d+)$", outer, flags=re.MULTILINE)[1]
    assert Version(conda_python) in SpecifierSet(description["requires-python"])


def imported(file: Path) -> set[str]:
    """Top-level names of the modules that a file imports, lazily or not."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def test_bundle_imports_only_what_its_requirements_bring() -> None:
    """An extra's packages are imported in that extra's modules alone."""
    description = project()
    files = sorted((BUNDLE / "scripts").rglob("*.py"))
    assert {*EXTRA_OF} < {file.name for file in files}
    for file in files:
        wanted = list(description["dependencies"])
        if file.name in EXTRA_OF:
            wanted += description["optional-dependencies"][EXTRA_OF[file.name]]
        brought = set(requirements(wanted))
        foreign = imported(file) - set(sys.stdlib_module_names) - {"scripts"}
        unknown = {name for name in foreign if canonicalize_name(DISTRIBUTIONS.get(name, name)) not in brought}
        assert not unknown, f"{file.name} imports {sorted(unknown)}"


def test_labs_import_only_what_the_extras_bring() -> None:
    """A lab may use any part of the project; the SDK, which is in no extra, only where it is there."""
    description = project()
    extras = description["optional-dependencies"]
    wanted = [
        *description["dependencies"],
        *(line for name in EXTRAS - {"dev", "bench", "jupyter"} for line in extras[name]),
    ]
    brought = set(requirements(wanted))
    # botocore is boto3's other half; the SDK cannot be an extra, as it contradicts the lock.
    own = {"scripts", "sm_launch", "labs", "labkit", "skin_lesions", "botocore", "sagemaker"}
    for file in sorted((ROOT / "labs").rglob("*.py")):
        if "work" in file.relative_to(ROOT / "labs").parts:
            continue
        foreign = imported(file) - set(sys.stdlib_module_names) - own
        unknown = {name for name in foreign if canonicalize_name(DISTRIBUTIONS.get(name, name)) not in brought}
        assert not unknown, f"{file.name} imports {sorted(unknown)}"
