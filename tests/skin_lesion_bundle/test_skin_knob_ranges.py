"""Wrong values of plain knobs end a run of the skin lesion bundle in one sentence, before it has written anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser
from skin_lesions.errors import InputError
from skin_lesions.knob_ranges import KNOBS, Number, refuse_bad_knob
from skin_workflow import BUNDLE, TINY, job, refusal_of, run
from tiny_ham10000 import write_tiny_ham10000

CONFIGS = BUNDLE / "configs"
RUNNABLE = [
    file
    for file in sorted(CONFIGS.rglob("*.json"))
    if file.name != "metadata.json" and file.parent.name != "search"  # which another program reads
]
# Names and paths, checked where they are read; the number of a process, which multi_gpu_train.json sets.
ELSEWHERE = {"bundle_root", "dataset_dir", "datalist_file", "output_dir", "run_name", "ckpt_dir", "rank"}
COUNT = "give a whole number of 1 or more, such as "


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_ham10000(tmp_path_factory.mktemp("data") / "set", lesions=4, images=2)


def plain(config: dict[str, Any]) -> set[str]:
    """Knobs by their values: numbers, words and lists of such, which no expression makes."""
    found = {}
    for name, value in config.items():
        entries = value if isinstance(value, list) else [value]
        if all(entry is None or isinstance(entry, bool | int | float | str) for entry in entries):
            found[name.lstrip("+")] = entries
    return {name for name, entries in found.items() if "::" not in name and not any(map(expression, entries))}


def expression(value: object) -> bool:
    return isinstance(value, str) and value[:1] in ("$", "@", "%")


@pytest.mark.parametrize(
    ("knob", "value", "words"),
    [
        ("image_size", 31, "give a whole number of 32 or more, such as 64."),
        ("image_size", [64, 64], "give a whole number of 32 or more, such as 64."),
        ("image_size", None, "give a whole number of 32 or more, such as 64."),
        ("stored_side", 0, "give a whole number of 32 or more, such as 128, or None (null in JSON)."),
        (
            "split_ratios",
            [0.7, 0.3],
            "give a list of 3 shares, of training, validation and test, each above 0, such as",
        ),
        (
            "split_ratios",
            [0.7, 0.3, 0],
            "give a list of 3 shares, of training, validation and test, each above 0, such",
        ),
        ("split_ratios", "0.7", "give a list of 3 shares, of training, validation and test, each above 0, such as"),
        ("rotate_degrees", -15, "give a number from 0 to 180, such as 15."),
        ("epochs", 0, COUNT + "15."),
        ("epochs", 1.5, COUNT + "15."),
        ("epochs", True, COUNT + "15."),
        ("batch_size", 0, COUNT + "16."),
        ("batch_size", "16", COUNT + "16."),
        ("learning_rate", -1, "give a number above 0, such as 0.001."),
        ("learning_rate", 0, "give a number above 0, such as 0.001."),
        ("learning_rate", float("nan"), "give a number above 0, such as 0.001."),
        ("weight_decay", float("inf"), "give a number of 0 or more, such as 0.01."),
        ("val_interval", 0, COUNT + "1."),
        ("seed", -1, "give a whole number from 0 to 4294967295, such as 42."),
        ("deterministic", "false", "give True or False on a command line and in Python, true or false in JSON."),
        ("cache_rate", 1.1, "give a number from 0 to 1, such as 1."),
        ("num_workers", -1, "give a whole number of 0 or more, such as 0."),
        ("backend", "ncll", "give one of none, auto, nccl, gloo."),
        ("backend", None, "give one of none, auto, nccl, gloo."),
    ],
)
def test_each_wrong_value_is_one_sentence(knob: str, value: object, words: str) -> None:
    with pytest.raises(InputError) as caught:
        refuse_bad_knob(knob, value)
    assert str(caught.value).startswith(f"{knob} is {value!r}; {words}") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("image_size", 32), ("stored_side", None), ("split_ratios", (0.5, 0.25, 0.25)), ("rotate_degrees", 0),
        ("learning_rate", 1e-30), ("weight_decay", 0), ("seed", 2**32 - 1), ("cache_rate", 0), ("num_workers", 0),
    ],
)  # fmt: skip
def test_the_ends_of_a_range_are_right(knob: str, value: object) -> None:
    refuse_bad_knob(knob, value)


@pytest.mark.parametrize("file", RUNNABLE, ids=lambda file: file.stem)
def test_no_knob_is_forgotten_and_shipped_values_are_right(file: Path) -> None:
    config = json.loads(file.read_text(encoding="utf-8"))
    described = set(config.get("_desc_", {})) | set(config.get("+_desc_", {}))
    assert described | plain(config) <= KNOBS.keys() | ELSEWHERE
    # stored_side is made from image_size, which a config that only overrides may lack.
    parser = ConfigParser({"image_size": 64} | config)
    for name in KNOBS.keys() & config.keys():
        refuse_bad_knob(name, parser.get_parsed_content(name))


def test_the_examples_are_right_themselves() -> None:
    for name, wanted in KNOBS.items():
        if isinstance(wanted, Number):
            refuse_bad_knob(name, wanted.such_as)


@pytest.mark.parametrize(
    ("knob", "value", "found"),
    [
        ("learning_rate", -1, "-1"),
        ("batch_size", 0, "0"),
        ("rotate_degrees", "a", "'a'"),
        ("epochs", "$1 + 0.5", "1.5"),
        ("stored_side", "@weight_decay", "0.01"),
        # stored_side, which is twice of it, is not asked for.
        ("image_size", None, "None"),
    ],
)
def test_a_refused_training_leaves_nothing(data: Path, tmp_path: Path, knob: str, value: object, found: str) -> None:
    said = refusal_of(job(tmp_path, "train.json", dataset_dir=str(data), **(TINY | {knob: value})))
    assert said.startswith(f"{knob} is {found}; give ")
    assert not list(tmp_path.iterdir())


def test_several_processes_are_refused_before_they_join(data: Path, tmp_path: Path) -> None:
    made = job(tmp_path, "train.json", "multi_gpu_train.json", dataset_dir=str(data), **(TINY | {"backend": "ncll"}))
    assert refusal_of(made) == "backend is 'ncll'; give one of none, auto, nccl, gloo."
    assert not list(tmp_path.iterdir())


def test_evaluation_and_inference_are_checked_too(data: Path, tmp_path: Path) -> None:
    run(job(tmp_path, "train.json", dataset_dir=str(data), run_name="run", **(TINY | {"epochs": 1})))
    assert refusal_of(job(tmp_path, "train.json", "evaluate.json", cache_rate=2)).startswith("cache_rate is 2; give ")
    assert not (tmp_path / "runs" / "run" / "test").exists()
    answers = tmp_path / "answers"
    made = job(tmp_path, "inference.json", kind="infer", dataset_dir=str(data), output_dir=str(answers), num_workers=-1)
    assert refusal_of(made) == "num_workers is -1; give a whole number of 0 or more, such as 0."
    assert not answers.exists()
