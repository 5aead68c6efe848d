"""Profile phi: lists of patients that lie in a bundle's folder do not travel with the code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from specs import BUNDLE, KMS_KEY, plan_of

from sm_launch import phi
from sm_launch.steps import Plan

SKIN = BUNDLE.parent / "labs" / "skin_lesion_bundle"
ENTRY = {"case": "A-17", "patient": "A-17", "image": "imagesTr/A-17.nii.gz", "label": "labelsTr/A-17.nii.gz"}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """This project's bundle, to be added to."""
    return Path(shutil.copytree(BUNDLE, tmp_path / "bundle", ignore=shutil.ignore_patterns("models", "runs")))


def protected(bundle: Path, **train: object) -> Plan:
    security = {
        "kms_key": KMS_KEY,
        "subnets": ["subnet-0123456789abcdef0"],
        "security_groups": ["sg-0123456789abcdef0"],
        "network_isolation": True,
        "encrypt_traffic": True,
    }
    more = {"preprocess": {"instance_type": "ml.c5.xlarge"}} if bundle != SKIN else {}
    return plan_of(
        bundle=str(bundle), profile="phi", security=security, train={"instance_type": "ml.g5.xlarge", **train}, **more
    )


@pytest.mark.parametrize(
    ("name", "content", "sections"),
    [
        ("datalist.json", {"training": [ENTRY], "validation": [ENTRY], "test": []}, "training, validation"),
        ("folds/0.json", {"test": [["A-17", "A-18"], ["A-19"]]}, "test"),
        ("configs/dataset.json", {"training": [{"image": "./a.nii.gz", "fold": 0}], "test": ["./b.nii.gz"]}, "trai"),
        ("splits_final.json", [{"train": ["A-17"], "val": ["A-18"]}], "train, val"),
        ("numbers.json", {"testing": [4711231]}, "testing"),
        ("docs/mixed.json", {"test": ["BRATS_001", "A-17"]}, "test"),
        # YAML holds JSON.
        ("cases.yaml", {"validation": ["A-17"]}, "validation"),
    ],
)
def test_list_of_cases_in_the_bundle_is_refused_once(mine: Path, name: str, content: object, sections: str) -> None:
    file = mine / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))
    (found,) = phi.check(protected(mine))
    assert found.startswith(f"{file}: lists cases under {sections}")
    assert found.endswith(
        f"and would travel with the code and in the model's artifact; move it into the data set's folder, and name it "
        f"there as {{channel:train}}/{file.name}."
    )
    assert "A-17" not in found


@pytest.mark.parametrize(
    "content",
    [
        # Public cases, expressions and components of a config, sizes.
        {"training": [{"image": "./imagesTr/BRATS_457.nii.gz", "label": "./labelsTr/BRATS_457.nii.gz"}]},
        {"test": ["BRATS_001_copy002"]},
        {"training": ["$monai.utils.set_determinism(0)", "$@train#trainer.run()"]},
        {"validation": [{"_target_": "StatsHandler", "name": "val"}], "train": [128, 128, 64], "test": "x", "val": []},
    ],
)
def test_what_lists_no_patients_passes(mine: Path, content: object) -> None:
    (mine / "configs" / "more.json").write_text(json.dumps(content))
    assert phi.check(protected(mine)) == []


@pytest.mark.parametrize("bundle", [BUNDLE, SKIN], ids=["brats", "skin"])
def test_bundles_of_this_project_pass(bundle: Path) -> None:
    plan = protected(bundle, packages=[])
    assert any(upload.uri.endswith("configs/train.json") for upload in plan.uploads)
    assert phi.check(plan) == []


@pytest.mark.parametrize(("name", "text"), [("a.json", '{"id": "A-17"}\n{}'), ("a.JSON", "\udcff"), ("a.yml", "a: [")])
def test_file_that_cannot_be_looked_at_is_refused(mine: Path, name: str, text: str) -> None:
    (mine / name).write_text(text, errors="surrogateescape")
    (found,) = phi.check(protected(mine))
    assert found.startswith(f"{mine / name}: cannot be read as ")
    assert found.endswith("so whether it lists patients cannot be seen; mend it, or take it out of the bundle.")


def test_list_in_the_data_set_is_named_as_the_page_shows(mine: Path) -> None:
    page = (Path(phi.__file__).parent / "docs" / "phi.md").read_text(encoding="utf-8")
    (value,) = [line.split('"')[1] for line in page.splitlines() if "overrides: {datalist_file:" in line]
    plan = protected(mine, overrides={"datalist_file": value})
    assert phi.check(plan) == []
    (job,) = [one for one in plan.uploads if one.uri.endswith("code-train/job.json")]
    assert json.loads(job.data)["overrides"]["datalist_file"] == "{channel:train}/datalist.json"


def test_tables_are_noted(mine: Path) -> None:
    (mine / "cases.CSV").write_text("id\nA-17\n")
    (found,) = [note for note in protected(mine).notes if "cases.CSV" in note]
    assert found.endswith("is not looked into; take it out of the bundle if it lists patients.")
    assert not [note for note in plan_of(bundle=str(mine)).notes if "cases.CSV" in note]
