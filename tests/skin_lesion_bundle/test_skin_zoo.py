"""The checks that the Model Zoo runs on a bundle, offline, and that the bundle stands alone."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigWorkflow, ckpt_export, verify_metadata, verify_net_in_out
from skin_lesions.classes import CLASSES, PLAIN_NAMES

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "labs" / "skin_lesion_bundle"
META = BUNDLE / "configs" / "metadata.json"
SCHEMA = ROOT / "tests" / "bundle" / "data" / "meta_schema_20240725.json"


def meta() -> dict:
    return json.loads(META.read_text(encoding="utf-8"))


def test_directory_and_version() -> None:
    for name in ("LICENSE", "docs/README.md", "docs/data_license.txt", "configs/logging.conf", "configs/train.json",
                 "configs/inference.json", "configs/multi_gpu_train.json"):  # fmt: skip
        assert (BUNDLE / name).is_file(), name
    assert meta()["version"] in meta()["changelog"]
    assert "not for clinical use" in (BUNDLE / "docs" / "README.md").read_text(encoding="utf-8").lower()


def test_metadata_satisfies_the_schema(tmp_path: Path) -> None:
    # verify_metadata downloads the schema unless the file is there already.
    shutil.copy(SCHEMA, tmp_path / "schema.json")
    verify_metadata(meta_file=str(META), filepath=str(tmp_path / "schema.json"))
    assert meta()["schema"].endswith(SCHEMA.name)


def test_metadata_names_the_classes_and_the_locked_versions() -> None:
    channels = meta()["network_data_format"]["outputs"]["pred"]["channel_def"]
    assert tuple(channels[key] for key in sorted(channels, key=int)) == CLASSES == tuple(PLAIN_NAMES)
    locks = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "requirements").glob("*.txt")).lower()
    wanted = meta()["required_packages_version"] | {
        "monai": meta()["monai_version"], "torch": meta()["pytorch_version"], "numpy": meta()["numpy_version"],
    }  # fmt: skip
    for package, version in wanted.items():
        assert re.search(rf"^{re.escape(package)}=={re.escape(version)}\b", locks, re.MULTILINE), (package, version)


@pytest.mark.parametrize(("config", "kind"), [("train.json", "train"), ("inference.json", "infer")])
def test_properties(config: str, kind: str, tmp_path: Path) -> None:
    paths = {"bundle_root": str(BUNDLE), "ckpt_dir": str(tmp_path / "models"), "output_dir": str(tmp_path / "out")}
    job = ConfigWorkflow(config_file=str(BUNDLE / "configs" / config), logging_file=False, workflow_type=kind, **paths)
    job.initialize()
    assert job.check_properties() == []


def test_network_input_and_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # From another folder, as the Model Zoo's script does it.
    monkeypatch.chdir(tmp_path)
    verify_net_in_out(
        net_id="network_def", meta_file=str(META), config_file=str(BUNDLE / "configs" / "inference.json"),
        bundle_root=str(BUNDLE), ckpt_dir=str(tmp_path),
    )  # fmt: skip


def test_torchscript_by_script_computes_the_same(tmp_path: Path) -> None:
    from skin_lesions.checkpoints import from_recipe

    network = from_recipe(str(tmp_path), str(BUNDLE), "network_def").eval()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    ckpt_export(
        "network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(tmp_path / "model.pt"),
        meta_file=str(META),
        config_file=str(BUNDLE / "configs" / "inference.json"),
        bundle_root=str(BUNDLE),
        ckpt_dir=str(tmp_path / "none"),
    )
    image = torch.rand(2, 3, 64, 64)
    exported = torch.jit.load(tmp_path / "model.ts").eval()
    with torch.no_grad():
        torch.testing.assert_close(exported(image), network(image))


def test_the_bundle_imports_nothing_of_this_project() -> None:
    listed = {"monai", "torch", "ignite", "numpy", "PIL", "sklearn", "scipy", "matplotlib"}
    for file in BUNDLE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import)
                else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            )  # fmt: skip
            for name in names:
                top = name.split(".")[0]
                assert top in listed | {"skin_lesions"} or top in sys.stdlib_module_names, (file.name, name)


def test_every_knob_is_described() -> None:
    for name in ("train.json", "inference.json"):
        config = json.loads((BUNDLE / "configs" / name).read_text(encoding="utf-8"))
        keys = list(config)
        knobs = keys[1 : keys.index("imports")]
        assert keys[0] == "_desc_" and list(config["_desc_"]) == knobs, name
