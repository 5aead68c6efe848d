from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from monai.bundle import ConfigParser
from specs import BUNDLE

from sm_launch.bundle import check_overrides, define, merged, read_bundle, requirements
from sm_launch.cli import main
from sm_launch.errors import LaunchError

CONFIGS = sorted(path.relative_to(BUNDLE).as_posix() for path in (BUNDLE / "configs").rglob("*.json"))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A small bundle of somebody else."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "metadata.json").write_text(
        '{"name": "Spleen", "version": "0.1", "monai_version": "1.4.0"}'
    )
    (tmp_path / "configs" / "train.json").write_text(json.dumps({"lr": 1, "handlers": [{"name": "a"}], "d": {"x": 1}}))
    return tmp_path


def test_only_the_bundles_own_files_travel(copy: Path) -> None:
    made = ("models/model.pt", "eval/x.csv", ".git/config", "scripts/__pycache__/a.pyc", "docs/scan.nii.gz", "x.pt")
    # What scripts.evaluate and scripts.visualize write by default names patients, or shows them.
    made += ("evaluation/summary.json", "by_label/cases.json", "case.html", "case.GIF")
    for name in ("scripts/a.py", "docs/README.md", "LICENSE", *made):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("x")
    names = [file.name for file in read_bundle(copy).files]
    assert names == ["LICENSE", "configs/metadata.json", "configs/train.json", "docs/README.md", "scripts/a.py"]


def test_merging_is_monais() -> None:
    stack = ["configs/train.json", "configs/data/store.json", "configs/multi_gpu_train.json", "configs/fsdp_train.json"]
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / config) for config in stack])
    # MONAI keeps its own metadata key beside what the files say.
    assert merged(read_bundle(BUNDLE), stack) == {k: v for k, v in parser.get().items() if k != "_meta_"}


def test_ids_lead_into_lists_and_dicts(copy: Path) -> None:
    content = merged(read_bundle(copy), ["configs/train.json"])
    assert define(content, "handlers::0::name") and define(content, "handlers#0#name") and define(content, "d::x")
    assert not define(content, "handlers::1::name")
    assert not define(content, "d::y")


def test_an_override_of_nothing_is_refused(copy: Path) -> None:
    content = merged(read_bundle(copy), ["configs/train.json"])
    check_overrides(content, {"lr": 2, "+new": 1, "handlers::0::name": "b"}, ["configs/train.json"])
    with pytest.raises(LaunchError, match=r"'handlers::0::nam' is not defined in .*; did you mean 'handlers::0::name'"):
        check_overrides(content, {"handlers::0::nam": 1}, ["configs/train.json"])


def test_an_argument_that_was_not_given_may_be(copy: Path) -> None:
    (copy / "configs" / "train.json").write_text('{"network_def": {"_target_": "UNet"}, "d": {"x": 1}}')
    content = merged(read_bundle(copy), ["configs/train.json"])
    check_overrides(content, {"network_def::norm": "batch"}, ["configs/train.json"])
    for key in ("d::norm", "network::norm"):
        with pytest.raises(LaunchError, match=f"'{key}' is not defined"):
            check_overrides(content, {key: 1}, ["configs/train.json"])


def test_packages_are_the_metadatas() -> None:
    metadata = json.loads((BUNDLE / "configs" / "metadata.json").read_text())
    found = requirements(metadata)
    assert f"monai=={metadata['monai_version']}" in found
    # PyTorch is the container's.
    assert not [one for one in found if one.startswith(("torch", "pytorch=", "numpy"))]


@pytest.mark.parametrize("wrong", [["x"], "x", {"x": 3}, {"x": None}])
def test_packages_that_are_no_names_with_versions_are_refused(wrong: object) -> None:
    with pytest.raises(LaunchError, match="optional_packages_version is .* where names with versions are wanted"):
        requirements({"optional_packages_version": wrong})


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda root: (root / "configs" / "train.json").write_text('{"a": 1,\n}'), "is broken JSON in line 2"),
        (lambda root: (root / "configs" / "train.json").write_text("[]"), "holds no keys"),
        (lambda root: (root / "configs" / "train.json").write_bytes(b"\xff\xfe"), "cannot be read"),
        (lambda root: (root / "configs" / "train.json").unlink(), "train.json: is not in the bundle"),
        (lambda root: shutil.rmtree(root / "configs"), "is no MONAI Bundle, since configs/metadata.json is missing"),
        (lambda root: shutil.rmtree(root), "there is no such folder"),
        (lambda root: (root / "configs" / "metadata.json").write_text("{"), "metadata.json: is broken JSON in line 1"),
    ],
)
def test_a_broken_bundle_is_one_sentence(copy: Path, spoil, sentence: str) -> None:
    spoil(copy)
    with pytest.raises(LaunchError) as error:
        merged(read_bundle(copy), ["configs/train.json"])
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_yaml_configs_are_read_too(copy: Path) -> None:
    (copy / "configs" / "train.yaml").write_text("lr: 3\n")
    assert merged(read_bundle(copy), ["configs/train.json", "configs/train.yaml"])["lr"] == 3
    (copy / "configs" / "train.yaml").write_text("lr: [\n")
    with pytest.raises(LaunchError, match="train.yaml: is broken YAML"):
        merged(read_bundle(copy), ["configs/train.yaml"])


@pytest.mark.parametrize("place", ["../best.json", "runs/best.json", "models/best.json", "configs/.best.json", ""])
def test_a_config_that_stays_here_is_refused(copy: Path, tmp_path_factory: pytest.TempPathFactory, place: str) -> None:
    # The empty one is a full path elsewhere.
    file = (copy / place).resolve() if place else tmp_path_factory.mktemp("elsewhere") / "best.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text('{"lr": 3}')
    config = place or str(file)
    for name in (config, str(file)):
        with pytest.raises(LaunchError) as error:
            merged(read_bundle(copy), ["configs/train.json", name])
        assert str(error.value) == (
            f"{name}: is not among the files of the bundle {copy} that travel to AWS; copy it into the bundle's "
            "configs/ and write configs/best.json."
        )


def test_a_config_is_named_by_its_path_in_the_bundle(copy: Path) -> None:
    bundle = read_bundle(copy)
    assert merged(bundle, ["./configs//train.json"]) == merged(bundle, ["configs/train.json"])
    for name in (str(copy / "configs" / "train.json"), "configs/../configs/train.json"):
        with pytest.raises(LaunchError, match="is no path in the bundle .*; write configs/train.json.$"):
            merged(bundle, [name])


@pytest.mark.parametrize("knob", ["configs", "multi_process_configs"])
def test_no_command_takes_a_config_that_stays_here(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], knob: str
) -> None:
    (copy / "runs").mkdir()
    (copy / "runs" / "best.json").write_text('{"lr": 3}')
    train = {"instance_type": "ml.c5.xlarge", "processes_per_host": 2, "channels": {}, knob: ["runs/best.json"]}
    spec = {
        "name": "tiny", "bundle": str(copy), "region": "us-east-1", "bucket": {"name": "tiny-bucket"},
        "role": "arn:aws:iam::123456789012:role/SageMaker", "train": train,
    }  # fmt: skip
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(spec))
    for command in ("plan", "local"):
        assert main([command, str(file)]) == 1
        assert "runs/best.json: is not among the files of the bundle" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_named(copy: Path) -> None:
    (copy / "scripts").mkdir()
    (copy / "scripts" / "a.py").touch(mode=0)
    with pytest.raises(LaunchError, match="a.py: cannot be read"):
        read_bundle(copy)
