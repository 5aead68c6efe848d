from __future__ import annotations

from pathlib import Path

import pytest
from specs import BUNDLE, spec_of

from sm_launch.errors import LaunchError
from sm_launch.reading import build, read

SMALL = f"""
name: brats
bundle: {BUNDLE}
region: us-east-1
role: arn:aws:iam::123456789012:role/R
bucket: {{name: b-1}}
train: {{instance_type: ml.g5.2xlarge}}
"""


def written(folder: Path, text: str, name: str = "spec.yaml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_folders_are_taken_from_the_specs_own_folder(tmp_path: Path) -> None:
    text = SMALL.replace(str(BUNDLE), "../mine") + "data: {source: cases}\nwheels: s3://b/wheels\n"
    (tmp_path / "specs").mkdir()
    spec = read(written(tmp_path / "specs", text))
    assert spec.bundle == str(tmp_path / "mine")
    assert spec.data.source == str(tmp_path / "specs" / "cases")
    assert spec.wheels == "s3://b/wheels"


def test_changes_win_over_the_file(tmp_path: Path) -> None:
    changes = ["train.spot=true", "train.overrides.epochs=3", "tags.project=x", "train.environment.A=1"]
    spec = read(written(tmp_path, SMALL), changes)
    assert spec.train.spot is True
    assert spec.train.overrides == {"epochs": 3}
    # What YAML takes for a number is meant as text where text is wanted.
    assert (spec.tags, spec.train.environment) == ({"project": "x"}, {"A": "1"})


def test_base_gives_what_a_file_lacks(tmp_path: Path) -> None:
    written(tmp_path, SMALL + "tags: {a: 1, b: 2}\n", "base.yaml")
    spec = read(written(tmp_path, "base: base.yaml\ntags: {b: 3}\ntrain: {spot: true}\n"))
    assert spec.tags == {"a": "1", "b": "3"}
    assert (spec.train.instance_type, spec.train.spot) == ("ml.g5.2xlarge", True)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["train.instances=2"], "train.instances is not known; did you mean 'instance_type'?"),
        (["trian.spot=true"], "trian is not known; did you mean 'train'?"),
        (["train.instance_count=two"], "train.instance_count is 'two' where a whole number is wanted."),
        (["train.spot=1"], "train.spot is '1' where true or false is wanted."),
        (["train.max_hours=long"], "train.max_hours is 'long' where a number is wanted."),
        (["profile=secret"], "profile is 'secret'; choose among standard, phi."),
        (["train.configs=configs/train.json"], "train.configs is 'configs/train.json' where a list is wanted; write ["),
        (["bucket=b"], "bucket is 'b' where keys are wanted; indent them below it."),
        (["train.overrides=3"], "train.overrides is '3' where keys with values are wanted; indent them below it."),
        (["train=null", "deploy.mode=async", "region.x=1"], "region is 'us-east-1', which has no parts"),
        (["train.spot"], "--set 'train.spot': is not KEY=VALUE"),
    ],
)
def test_a_wrong_word_is_one_sentence(tmp_path: Path, changes: list[str], sentence: str) -> None:
    with pytest.raises(LaunchError) as error:
        read(written(tmp_path, SMALL), changes)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name: [", "is no YAML in line "),
        ("train:\n  spot: true\ntags: {}\ntrain: {}\n", "'train' stands in line 1 and again in line 4; put both into"),
        ("a:\n- b: {c: 1, c: 2}\n", "'c' stands in line 2 and again in line 2"),
        ("- a\n- b\n", "holds no keys; compare it with a file of sm_launch/specs."),
        ("base: spec.yaml\n", "is its own base"),
        ("base: none.yaml\n", "none.yaml: cannot be read (No such file or directory)"),
        ("\x00", "is no YAML"),
    ],
)
def test_an_unreadable_file_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(LaunchError, match="spec|none") as error:
        read(written(tmp_path, text))
    assert sentence in str(error.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(LaunchError, match="spec: bundle is missing; add it."):
        build({"name": "x"})
    with pytest.raises(LaunchError, match="spec: train.instance_type is missing; add it."):
        spec_of(train={})


@pytest.mark.parametrize("change", ["train.overrides={epochs: 3", "train.overrides=[", "tags={a: b: c}"])
def test_a_change_that_is_no_yaml(tmp_path: Path, change: str) -> None:
    with pytest.raises(LaunchError, match="the value is no YAML; quote it, or close its brackets."):
        read(written(tmp_path, SMALL), [change])
