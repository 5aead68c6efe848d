"""Run folders and the refusal of misspelt overrides."""

from __future__ import annotations

from pathlib import Path

import pytest
from monai.bundle import ConfigParser
from scripts.errors import InputError
from scripts.overrides import refuse_two_workflows, refuse_unknown_items, shipped_items
from scripts.runs import command, run_dir, versions

CONFIGS = Path(__file__).resolve().parents[2] / "bundle" / "configs"


def test_misspelt_override_is_refused_with_the_nearest_name() -> None:
    config = {"epochs": 3, "epochz": 3, "train": {"trainer": {"max_epochs": "@epochs"}}}
    with pytest.raises(InputError, match="override 'epochz' is read by nothing in this config; did you mean 'epochs'?"):
        refuse_unknown_items(config, shipped={})


def test_a_users_own_item_that_is_referenced_is_welcome() -> None:
    refuse_unknown_items({"my_loss": {"_target_": "DiceLoss"}, "train": {"loss": "@my_loss"}}, shipped={})


def test_a_name_is_not_taken_for_the_beginning_of_a_longer_one() -> None:
    with pytest.raises(InputError, match="override 'epoch'"):
        refuse_unknown_items({"epoch": 3, "epochs": 3, "train": {"n": "@epochs", "m": "@epochs::0"}}, shipped={})


@pytest.mark.parametrize("name", ["a/b", "../a", "", ".", ".."])
def test_a_run_is_named_by_one_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"run_name '{name}' is not the name of a folder; name other folders above"):
        run_dir(str(tmp_path), name)
    assert run_dir(str(tmp_path), 0) == str(tmp_path / "0")


def merged(*files: str, **overrides: object) -> dict:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / file) for file in files])
    parser.update(overrides)
    return parser.get()


EVERY_COMBINATION = [
    [*base, *extra, *evaluate]
    for base in (["train.json"], ["train.json", "full.json"], ["train.json", "multi_gpu_train.json"])
    for extra in ([], *([path.relative_to(CONFIGS).as_posix()] for path in sorted(CONFIGS.glob("*/*.json"))))
    for evaluate in ([], ["evaluate.json"])
]


def test_every_combination_of_shipped_configs_is_known() -> None:
    shipped = shipped_items(CONFIGS)
    for files in (*EVERY_COMBINATION, ["inference.json"]):
        refuse_two_workflows(merged(*files), shipped)
        refuse_unknown_items(merged(*files), shipped)


@pytest.mark.parametrize(
    ("files", "key", "belongs"),
    [
        (["inference.json"], "epochs", "train.json"),
        (["inference.json"], "spacing", "train.json"),
        (["train.json"], "cache_dir", "persistent.json"),
        (["train.json"], "evaluate_on", "evaluate.json"),
        (["train.json"], "reshape", "ct.json and distmis.json"),
        (["train.json"], "save_probabilities", "evaluate.json and inference.json"),
    ],
)
def test_knob_of_a_config_that_was_not_given_is_refused(files: list[str], key: str, belongs: str) -> None:
    with pytest.raises(InputError, match=f"'{key}' is read by nothing in this config; it belongs to .*{belongs}"):
        refuse_unknown_items(merged(*files, **{key: 1}), shipped_items(CONFIGS))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("network_def::channelz", r"UNet has no such argument; did you mean 'network_def::channels'\?"),
        ("loss::squaredd", r"scripts.losses.DiceBCELoss has no such argument; did you mean 'loss::squared'\?"),
        ("validate::inferer::zzz", "has no such argument; known are compile, members, mode, one_pass_ratio, "),
        ("train::handlers::3::epochs", "scripts.progress.StopOnNan has no such argument"),
        ("train::dataloaderr", r"in this config; did you mean 'train::dataloader'\?"),
    ],
)
def test_misspelt_nested_override_is_refused(name: str, sentence: str) -> None:
    config = ConfigParser(merged("train.json"))
    config[name] = 3
    with pytest.raises(InputError, match=f"^override '{name}' is read by nothing.*{sentence}"):
        refuse_unknown_items(config.get(), shipped_items(CONFIGS))


def test_a_users_own_nested_items_are_welcome() -> None:
    config = ConfigParser(merged("train.json"))
    config["train::mine"] = {"_target_": "DiceLoss", "sigmoid": True}
    config["loss"] = "@train::mine"
    config["train::dataloader::prefetch_factor"] = 2
    config["validate::key_metric::another"] = {"_target_": "no.such.module"}
    refuse_unknown_items(config.get(), shipped_items(CONFIGS))


@pytest.mark.parametrize("files", [["train.json", "inference.json"], ["inference.json", "full.json", "train.json"]])
def test_two_workflows_at_once_are_refused(files: list[str]) -> None:
    with pytest.raises(
        InputError, match=r"inference\.json and train\.json are both in --config_file, .* give inference"
    ):
        refuse_two_workflows(merged(*files), shipped_items(CONFIGS))


def test_run_folder_is_absolute_and_named_or_dated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_dir("runs", "first") == str(tmp_path / "runs" / "first")
    assert run_dir("runs", None).startswith(str(tmp_path / "runs" / "20"))


def test_command_can_be_typed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sys.argv", ["site-packages/monai/bundle/__main__.py", "run", "--config_file", "['a.json','b.json']"]
    )
    assert command() == """python -m monai.bundle run --config_file '['"'"'a.json'"'"','"'"'b.json'"'"']'"""


def test_versions_name_what_a_result_depends_on() -> None:
    assert {"python", "platform", "monai", "torch", "numpy", "nibabel"} <= set(versions())
