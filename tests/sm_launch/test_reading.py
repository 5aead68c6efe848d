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


def test_folders_of_a_base_are_taken_from_the_bases_own_folder(tmp_path: Path) -> None:
    team, mine = tmp_path / "team", tmp_path / "mine"
    team.mkdir()
    mine.mkdir()
    text = SMALL.replace(str(BUNDLE), "bundle") + "data: {source: cases}\nwheels: 2026\n"
    written(team, text, "base.yaml")
    spec = read(written(mine, "base: ../team/base.yaml\ndata: {source: others}\n"), ["wheels=whl"])
    # What a change names is seen from the file that the command line names.
    assert (spec.bundle, spec.data.source, spec.wheels) == (
        str(team / "bundle"), str(mine / "others"), str(mine / "whl")
    )  # fmt: skip
    assert read(written(mine, "base: ../team/base.yaml\n")).wheels == str(team / "2026")


def test_a_change_leaves_what_an_alias_shares(tmp_path: Path) -> None:
    spec = read(written(tmp_path, SMALL[:-2] + ", environment: &all {A: b}}\ntags: *all\n"), ["tags.C=d"])
    assert (spec.tags, spec.train.environment) == ({"A": "b", "C": "d"}, {"A": "b"})


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
        (['wheels=""'], "spec.yaml: wheels is empty; give a folder, or take the key out."),
        (["train.max_hours=1" + 400 * "0"], "0' where a number is wanted."),
        (["train.max_hours=1:30"], "'1:30' in line 1 is read by YAML as 90; write a plain number, or put a text into"),
        (["train.volume_gb=0100"], "'0100' in line 1 is read by YAML as 64; write a plain number"),
        (
            ["train.overrides.learning_rate=1e-4"],
            "'1e-4' in line 1 is read by YAML as text; write a number with a",
        ),
        (["train.overrides={epochs: 1, epochs: 2}"], "'epochs' stands in line 1 and again in line 1"),
        (
            ["train.overrides.epochs=2026-01-01"],
            "'2026-01-01' in line 1 is read by YAML as a date, which a spec cannot",
        ),
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
        ("base: [spec.yaml]\n", "base is '['spec.yaml']'; write the path of one spec file"),
        ("a: &x [*x]\n", "an alias in line 1 names what it lies in; write out what is meant."),
        ("? [a, b]\n: 1\n", "a key in line 1 is a list or has keys itself; write a text."),
        ("tags:\n  on: x\n", "the key 'on' in line 2 is read by YAML as true or false; put it into quotes."),
        (
            "tags: {0123: x}\n",
            "'0123' in line 1 is read by YAML as 83; write a plain number, or put a text into",
        ),
        ("a: 2026-13-45\n", "'2026-13-45' in line 1 is read by YAML as a date, which a spec cannot hold; put a text"),
        ("a: !!binary aGk=\n", "'aGk=' in line 1 is read by YAML as 'binary', which a spec cannot hold"),
        ("a: !!set {b, c}\n", "what begins in line 1 is read by YAML as a set, which a spec cannot hold"),
        ("a: !!int b\n", "a value does not fit the tag before it"),
        ("a: " + 3000 * "[" + 3000 * "]", "is nested too deep to be read; take levels away."),
    ],
)
def test_an_unreadable_file_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(LaunchError, match="spec|none") as error:
        read(written(tmp_path, text))
    assert sentence in str(error.value)


def test_numbers_and_texts_as_they_stand_are_taken(tmp_path: Path) -> None:
    more = "tags: &t {a: '1:30', b: '1e-4', 2026: x}\nimage: {role: r}\n"
    changes = ["train.overrides.learning_rate=1.0e-4", "train.max_hours=1.5", "train.overrides.roi=[1, -2, 0]"]
    spec = read(written(tmp_path, SMALL + more), changes)
    assert spec.tags == {"a": "1:30", "b": "1e-4", "2026": "x"}
    assert (spec.train.max_hours, spec.train.overrides) == (1.5, {"learning_rate": 1e-4, "roi": [1, -2, 0]})


def test_a_missing_key_is_named() -> None:
    with pytest.raises(LaunchError, match="spec: bundle is missing; add it."):
        build({"name": "x"})
    with pytest.raises(LaunchError, match="spec: train.instance_type is missing; add it."):
        spec_of(train={})


@pytest.mark.parametrize("change", ["train.overrides={epochs: 3", "train.overrides=[", "tags={a: b: c}"])
def test_a_change_that_is_no_yaml(tmp_path: Path, change: str) -> None:
    with pytest.raises(LaunchError, match="the value is no YAML; quote it, or close its brackets."):
        read(written(tmp_path, SMALL), [change])
