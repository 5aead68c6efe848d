"""The checks that the Model Zoo runs on a bundle, offline.

They are those of project-monai/model-zoo ``ci/verify_bundle.py``: directory, version, schema, properties, network input
and output, TorchScript by script; and ONNX beside it. The schema is MONAI's ``meta_schema_20240725.json`` (Apache-2.0).
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export, onnx_export, verify_metadata, verify_net_in_out
from workflow import BUNDLE, workflow

META = BUNDLE / "configs" / "metadata.json"
SCHEMA = Path(__file__).parent / "data" / "meta_schema_20240725.json"


def meta() -> dict:
    return json.loads(META.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models/model.pt of the default network."""
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / "train.json"))
    file = tmp_path_factory.mktemp("models") / "model.pt"
    torch.save(parser.get_parsed_content("network_def").state_dict(), file)
    return file


def test_directory() -> None:
    for name in ("LICENSE", "configs/metadata.json", "configs/train.json", "configs/inference.json", "docs/README.md",
                 "docs/data_license.txt", "configs/logging.conf"):  # fmt: skip
        assert (BUNDLE / name).is_file(), name
    assert "not for clinical use" in (BUNDLE / "docs" / "README.md").read_text(encoding="utf-8").lower()


def test_version_is_in_the_changelog() -> None:
    assert meta()["version"] in meta()["changelog"]


def test_metadata_satisfies_the_schema(tmp_path: Path) -> None:
    # verify_metadata downloads the schema unless the file is there already.
    shutil.copy(SCHEMA, tmp_path / "schema.json")
    verify_metadata(meta_file=str(META), filepath=str(tmp_path / "schema.json"))
    assert meta()["schema"].endswith(SCHEMA.name)


def test_metadata_names_the_locked_versions() -> None:
    lock = (BUNDLE.parent / "requirements" / "bundle.txt").read_text(encoding="utf-8").lower()
    wanted = meta()["required_packages_version"] | {
        "monai": meta()["monai_version"], "torch": meta()["pytorch_version"], "numpy": meta()["numpy_version"],
    }  # fmt: skip
    for package, version in wanted.items():
        assert re.search(rf"^{re.escape(package)}=={re.escape(version)}\b", lock, re.MULTILINE), (package, version)


@pytest.mark.parametrize(("configs", "kind"), [(["train.json"], "train"), (["inference.json"], "infer")])
def test_properties(configs: list[str], kind: str, tiny_decathlon: Path, tmp_path: Path) -> None:
    job = workflow(tmp_path, *configs, kind=kind, dataset_dir=str(tiny_decathlon))
    job.initialize()
    assert job.check_properties() == []


def test_network_input_and_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # From another folder, as the Model Zoo's script does it.
    monkeypatch.chdir(tmp_path)
    verify_net_in_out(
        net_id="network_def", meta_file=str(META), config_file=str(BUNDLE / "configs" / "inference.json"),
        bundle_root=str(BUNDLE), ckpt_dir=str(tmp_path),
    )  # fmt: skip


def test_torchscript_by_script_computes_the_same(weights: Path, tmp_path: Path) -> None:
    ckpt_export(
        net_id="network_def", filepath=str(tmp_path / "model.ts"), ckpt_file=str(weights), meta_file=str(META),
        config_file=str(BUNDLE / "configs" / "inference.json"), bundle_root=str(BUNDLE), ckpt_dir=str(tmp_path),
    )  # fmt: skip
    exported = torch.jit.load(tmp_path / "model.ts").eval()
    assert_same(lambda x: exported(x), weights)


def test_onnx_computes_the_same(weights: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    onnx_export(
        net_id="network_def", filepath=str(tmp_path / "model.onnx"), ckpt_file=str(weights), meta_file=str(META),
        config_file=str(BUNDLE / "configs" / "inference.json"), bundle_root=str(BUNDLE), ckpt_dir=str(tmp_path),
        input_shape=[1, 4, 32, 32, 32],
    )  # fmt: skip
    from onnx.reference import ReferenceEvaluator

    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model)
    session = ReferenceEvaluator(model)
    assert_same(lambda x: torch.as_tensor(session.run(None, {model.graph.input[0].name: x.numpy()})[0]), weights)


def assert_same(exported, weights: Path) -> None:
    """Hold an exported network against the one it came from."""
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / "train.json"))
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    x = torch.rand(1, 4, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(exported(x), network(x), rtol=1e-3, atol=1e-4)
