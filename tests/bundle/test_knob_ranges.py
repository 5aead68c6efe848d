"""Wrong values of plain knobs end a run in one sentence, before it has written anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from monai.bundle import ConfigComponent, ConfigParser
from scripts import inferers, learning_rate, missing_modalities, precision
from scripts.errors import InputError
from scripts.knob_ranges import KNOBS, Word, refuse_bad_knobs
from test_runs import CONFIGS, EVERY_COMBINATION, merged
from tiny import TINY, write_decathlon
from workflow import refused, run

# Names, paths, and words that the place where they are read knows, most of them before the run folder is made.
ELSEWHERE = {
    "bundle_root", "dataset_dir", "datalist_file", "label_scheme", "output_dir", "run_name", "ckpt_dir",
    "initial_weights", "resume", "backend", "evaluate_on", "cache_dir", "store_dir", "store_device",
    "wandb_mode", "tracking_uri", "experiment_name", "wandb_project",
}  # fmt: skip
# Descriptions of what is no knob: these explain an override of a section.
SECTIONS = {"network", "network_def", "published_prefix", ""}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_decathlon(tmp_path_factory.mktemp("data") / "Task01_Tiny", cases=8)


@pytest.mark.parametrize(
    ("knob", "value", "words"),
    [
        ("window_overlap", 1.0, "give a number from 0 up to, not including, 1, such as 0.25."),
        ("window_overlap", 2, "give a number from 0 up to, not including, 1, such as 0.25."),
        ("patch_size", [30, 30, 30], "give sides that are multiples of size_multiple, 16, or set size_multiple to"),
        ("patch_size", [32, 32], "give a list of 3, each a whole number of 1 or more, such as [64, 64, 64]."),
        ("patch_size", 32, "give a list of 3, each a whole number of 1 or more, such as [64, 64, 64]."),
        ("learning_rate", -1, "give a number above 0, such as 0.002."),
        ("learning_rate", 0, "give a number above 0, such as 0.002."),
        ("learning_rate", float("nan"), "give a number above 0, such as 0.002."),
        ("weight_decay", -1, "give a number of 0 or more, such as 1e-05."),
        ("epochs", 0, "give a whole number of 1 or more, such as 30."),
        ("epochs", 1.5, "give a whole number of 1 or more, such as 30."),
        ("epochs", True, "give a whole number of 1 or more, such as 30."),
        ("val_interval", 0, "give a whole number of 1 or more, such as 5."),
        ("batch_size", 0, "give a whole number of 1 or more, such as 2."),
        ("num_workers", -1, "give a whole number of 0 or more, such as 4."),
        ("crops_per_case", 0, "give a whole number of 1 or more, such as 2."),
        ("gain", -0.1, "give a number from 0 to 1, such as 0.1."),
        ("shift", "a", "give a number of 0 or more, such as 0.1."),
        ("tta_axes", 0, "give a list, each a whole number from 0 to 2, such as [0, 1, 2], or [] for none."),
        ("tta_axes", [3], "give a list, each a whole number from 0 to 2, such as [0, 1, 2], or [] for none."),
        ("ema_decay", "0.9", "give a number from 0 up to, not including, 1, such as 0.999."),
        ("bce_weight", "x", "give a number of 0 or more, such as 1."),
        ("cache_rate", 2.0, "give a number from 0 to 1, such as 0.5."),
        ("replace_rate", 0, "give a number above 0 and up to 1, such as 0.2."),
        ("tumour_crops", 1.5, "give a number from 0 to 1, such as 0.5."),
        ("postprocessing_rules", None, "give none, tuned, or the path of a rules file."),
        ("deterministic", "false", "give True or False on a command line"),
        ("schedule", "step", "give one of cosine, poly."),
        ("regions", [], "give a list, each one of TC, WT, ET, such as ['TC', 'WT', 'ET']."),
        ("spacing", [2.0, -1.0, 2.0], "give a list of 3, each a number of 0 or more, such as [2.0, 2.0, 2.0]."),
    ],
)
def test_each_wrong_value_is_one_sentence(knob: str, value: object, words: str) -> None:
    with pytest.raises(InputError) as caught:
        refuse_bad_knobs({"size_multiple": 16, knob: value})
    assert str(caught.value).startswith(f"{knob} is {value!r}; {words}") and "\n" not in str(caught.value)


def test_the_ends_of_a_range_are_right() -> None:
    refuse_bad_knobs({"window_overlap": 0, "ema_decay": 0.0, "cache_rate": 1, "tumour_crops": 0, "tta_axes": []})
    refuse_bad_knobs({"spacing": (0.0, 0, 1.5), "epochs": 1, "num_workers": 0, "learning_rate": 1e-30, "seed": 0})
    refuse_bad_knobs({"patch_size": [30, 30, 30], "size_multiple": 2, "my_knob": "anything"})


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(InputError, match=r"^patch_size is \[1, 1, .*\.\.\.; give a list of 3"):
        refuse_bad_knobs({"patch_size": [1] * 1000})


def test_every_combination_of_shipped_configs_is_within_the_ranges() -> None:
    for files in (*EVERY_COMBINATION, ["inference.json"]):
        config = merged(*files)
        parser = ConfigParser(config)
        plain = [name for name in KNOBS if name in config and not ConfigComponent.is_instantiable(config[name])]
        assert len(plain) > 8, files
        refuse_bad_knobs({name: parser.get_parsed_content(name) for name in plain})


def test_no_described_knob_is_forgotten() -> None:
    for file in CONFIGS.rglob("*.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        described = content.get("_desc_") or content.get("+_desc_")
        if file.parent.name != "search" and isinstance(described, dict):
            assert set(described) <= KNOBS.keys() | ELSEWHERE | SECTIONS, file


def test_words_are_those_that_the_readers_know() -> None:
    known = {
        "schedule": learning_rate.SCHEDULES,
        "scale_learning_rate": learning_rate.RULES,
        "precision": tuple(precision.PRECISIONS),
        "inference_mode": (inferers.BRAIN_BOX, inferers.SLIDING_WINDOW),
        "missing_modalities": (missing_modalities.REFUSE, missing_modalities.BLANK),
    }
    assert {name: KNOBS[name] for name in known} == {name: Word(words) for name, words in known.items()}


@pytest.mark.parametrize(
    ("knob", "value", "found"),
    [
        ("window_overlap", 1.0, "1.0"),
        ("tumour_crops", 1.5, "1.5"),
        ("epochs", "$1 + 0.5", "1.5"),
        ("patch_size", "@spacing", "[2.0, 2.0, 2.0]"),
    ],
)
def test_a_refused_training_leaves_no_run_folder(
    data: Path, tmp_path: Path, knob: str, value: object, found: str
) -> None:
    sentence = refused(tmp_path, "train.json", dataset_dir=str(data), **(TINY | {knob: value}))
    assert sentence.startswith(f"{knob} is {found}; give ")
    assert not list(tmp_path.iterdir())


def test_several_wrong_knobs_are_told_at_once(data: Path, tmp_path: Path) -> None:
    sentence = refused(tmp_path, "train.json", dataset_dir=str(data), **(TINY | {"epochs": 0, "gain": "x"}))
    assert [line.split(" ")[0] for line in sentence.splitlines()] == ["gain", "epochs"]


def test_evaluation_and_inference_are_checked_too(data: Path, tmp_path: Path) -> None:
    run(tmp_path, "train.json", dataset_dir=str(data), **TINY)
    sentence = refused(tmp_path, "train.json", "evaluate.json", postprocessing_rules=None)
    assert sentence == "postprocessing_rules is None; give none, tuned, or the path of a rules file."
    assert not (tmp_path / "runs" / "run" / "test").exists()
    sentence = refused(
        tmp_path, "inference.json", kind="infer", dataset_dir=str(data), output_dir=str(tmp_path / "out"),
        window_overlap=1.0,
    )  # fmt: skip
    assert sentence == "window_overlap is 1.0; give a number from 0 up to, not including, 1, such as 0.25."
    assert not (tmp_path / "out").exists()
