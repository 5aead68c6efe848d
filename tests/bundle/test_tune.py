"""Searches without Ray: search files, the trials they give, what a trial leaves, and the results made of it."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser
from scripts.errors import InputError
from scripts.tune import search as tune
from scripts.tune.config import as_override, merged, prepare, refuse_bad_trials, refuse_unknown, split
from scripts.tune.figure import plot_search
from scripts.tune.folder import claim, refuse_other_search
from scripts.tune.results import Progress, collect, table, write_csv
from scripts.tune.space import draw, read_search, short_names, short_value
from scripts.tune.trial import Plan, Trial, TrialFailed, failure_reason, outcome, write_state
from workflow import BUNDLE

GRID = {"space": {"learning_rate": {"grid": [0.1, 0.2]}}, "epochs": 2}


def search_file(folder: Path, content: Any) -> Path:
    file = folder / "mine.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def plan(folder: Path, **changes: Any) -> Plan:
    folder.mkdir(parents=True, exist_ok=True)
    given = {
        "name": folder.name, "folder": str(folder), "bundle_root": str(BUNDLE), "config_files": ("configs/train.json",),
        "epochs": 2, "metric": "score", "workers": 1, "cpus": 1, "gpus": 0,
    }  # fmt: skip
    return Plan(**(given | changes))


def ended(folder: Path, scores: list[float], status: str = "finished", reason: str = "") -> Path:
    """The folder of a trial that has ended."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"epoch": epoch, "train_loss": 1.0, "score": score}) for epoch, score in enumerate(scores, 1)]
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    write_state(folder, status, 12.34, reason)
    return folder


def test_the_published_grid_has_32_trials_of_its_own_optimiser_and_norm() -> None:
    search = read_search(BUNDLE / "configs" / "search" / "distmis_grid.json")
    trials = draw(search)
    assert len(trials) == 32 == len({json.dumps(trial) for trial in trials})
    assert {trial["learning_rate"] for trial in trials} == {1e-4, 5e-4, 1e-3, 5e-3}
    config = merged(BUNDLE, search.configs, {})
    refuse_unknown(config, search.space)
    (norms, betas) = (
        {json.dumps(trial[knob]) for trial in trials} for knob in ("network_def::norm", "optimizer::betas")
    )
    assert len(norms) == len(betas) == 2
    seen = set()
    for trial in trials[::5]:
        for knob, value in trial.items():
            config[knob] = value
        config.parse(reset=True)
        network, optimizer = config.get_parsed_content("network_def"), config.get_parsed_content("optimizer")
        seen |= {type(layer).__name__ for layer in network.modules()} & {"BatchNorm3d", "GroupNorm"}
        assert type(optimizer).__name__ == "Adam" and optimizer.defaults["amsgrad"] is trial["optimizer::amsgrad"]
        assert list(optimizer.defaults["betas"]) == trial["optimizer::betas"]
        assert optimizer.defaults["lr"] == trial["learning_rate"]
    assert seen == {"BatchNorm3d", "GroupNorm"}


def test_the_random_search_draws_the_same_trials_again_and_the_first_ones_of_more() -> None:
    search = read_search(BUNDLE / "configs" / "search" / "lr_batch_loss.json")
    refuse_unknown(merged(BUNDLE, search.configs, search.overrides), search.space)
    trials = draw(search)
    assert len(trials) == 12 and trials == draw(search)
    more = tune.with_options(search, Namespace(override=[], config=[], epochs=None, num_samples=40))
    assert draw(more)[:12] == trials
    rates = [trial["learning_rate"] for trial in draw(more)]
    assert min(rates) >= 0.0003 and max(rates) <= 0.01
    # Spread evenly over the orders of magnitude, not over the numbers.
    assert 0.3 < sum(rate < math.sqrt(0.0003 * 0.01) for rate in rates) / 40 < 0.7
    assert {trial["batch_size"] for trial in draw(more)} == {1, 2, 4}
    assert search.scheduler == {"grace_period": 4, "reduction_factor": 3}


def test_ranges_include_both_ends(tmp_path: Path) -> None:
    space = {"epochz": {"randint": [1, 3]}, "x": {"uniform": [-1.0, 1.0]}}
    content = {"space": space, "epochs": 1, "algorithm": "random", "num_samples": 60}
    trials = draw(read_search(search_file(tmp_path, content)))
    assert {trial["epochz"] for trial in trials} == {1, 2, 3}
    assert min(trial["x"] for trial in trials) < -0.5 and max(trial["x"] for trial in trials) > 0.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"space": {}}, "space is missing or empty"),
        ({"spaces": {}}, "unknown entry 'spaces'"),
        ({"epochs": 0}, "epochs is missing or empty"),
        ({"epochs": "many"}, "epochs is \"many\", of the wrong type"),
        ({"space": {"learning_rate": {"grid": []}}}, "learning_rate: 'grid' has []"),
        ({"space": {"learning_rate": [1, 2]}}, "learning_rate: is [1, 2]; an object with one of grid"),
        ({"space": {"learning_rate": {"choice": [1]}}}, "has 'choice', but the algorithm is grid"),
        ({"algorithm": "random"}, "has 'grid', but the algorithm is random"),
        ({"algorithm": "bayes"}, "algorithm 'bayes' is unknown"),
        ({"num_samples": 3}, "leave num_samples out"),
        ({"algorithm": "random", "space": {"a": {"loguniform": [0, 1]}}}, "'loguniform' starts at 0"),
        ({"algorithm": "random", "space": {"a": {"uniform": [2, 1]}}}, "two numbers, the lower first"),
        ({"algorithm": "random", "space": {"a": {"randint": [1.5, 3]}}}, "two whole numbers"),
        ({"mode": "best"}, "mode 'best' is unknown"),
        ({"scheduler": "hyperband"}, "scheduler 'hyperband' is unknown"),
        ({"scheduler": {"name": "asha", "grace": 1}}, "no setting 'grace'"),
        ({"scheduler": {"name": "asha", "reduction_factor": 1}}, "reduction_factor is 1; a whole number from 2"),
    ],
)  # fmt: skip
def test_a_bad_search_file_is_one_sentence(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_search(search_file(tmp_path, GRID | change))
    assert words in str(caught.value) and "mine.json" in str(caught.value)


@pytest.mark.parametrize(
    ("knob", "words"),
    [
        ("learning_rat", "did you mean 'learning_rate'?"),
        ("optimizer::amsgrat", "did you mean 'optimizer::amsgrad'?"),
        ("netwrk::norm", "which has no 'netwrk'"),
        ("epochs::more", "'epochs::more' names nothing"),
        ("run_name", "is set by the search itself"),
    ],
)  # fmt: skip
def test_an_unknown_knob_is_one_sentence(knob: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        refuse_unknown(merged(BUNDLE, [], {}), [knob])
    assert words in str(caught.value)


def test_an_argument_that_the_config_leaves_out_is_known_by_the_signature() -> None:
    config = merged(BUNDLE, [], {"optimizer::amsgrad": True, "train::dataset::cache_num": 3})
    refuse_unknown(config, ["network_def::norm", "random_transforms::1::gain", "loss::smooth"])


def test_data_are_prepared_once_for_all_trials(tmp_path: Path, tiny_decathlon: Path) -> None:
    config = merged(BUNDLE, ["configs/data/store.json"], {"store_dir": str(tmp_path / "store")})
    cases = split(config, tmp_path / "out", str(tiny_decathlon))
    assert not (tmp_path / "out").exists()
    datalist = json.loads(prepare(config, tmp_path / "out", cases).read_text())
    wanted = sorted(entry["case"] for part in ("training", "validation") for entry in datalist[part])
    assert sorted(path.name for path in (tmp_path / "store").glob("BRATS_*")) == wanted
    assert datalist["dataset_dir"] == str(tiny_decathlon)
    with pytest.raises(InputError, match="no such folder"):
        split(merged(BUNDLE, [], {}), tmp_path / "other", str(tmp_path / "nowhere"))


def test_a_trial_that_has_ended_tells_its_epochs_again_and_starts_nothing(tmp_path: Path) -> None:
    folder = ended(tmp_path / "trial_000", [0.3, 0.5])
    before = sorted(folder.iterdir())
    trial = Trial(plan(folder))
    told = list(trial.results())
    assert [(result["epoch"], result["score"], result["done"]) for result in told] == [(1, 0.3, False), (2, 0.5, True)]
    trial.stop()
    assert sorted(folder.iterdir()) == before
    failed = ended(tmp_path / "trial_001", [], "failed", "the reason")
    with pytest.raises(TrialFailed, match="the reason"):
        list(Trial(plan(failed)).results())


def test_a_continued_trial_tells_an_epoch_once_and_no_half_line(tmp_path: Path) -> None:
    folder = ended(tmp_path / "trial_000", [0.3, 0.5])
    trial, metrics = Trial(plan(folder)), folder / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    assert [record["epoch"] for record in trial.new_records()] == [1, 2]
    # Its state had one epoch: the second is trained again.
    metrics.write_text(lines[0])
    assert trial.new_records() == []
    metrics.write_text("".join(lines) + '{"epoch": 3, "sco')
    assert trial.new_records() == []
    metrics.write_text("".join(lines) + '{"epoch": 3, "score": 0.1}\n')
    assert [record["epoch"] for record in trial.new_records()] == [3]


def test_a_trial_has_its_own_threads_and_no_ranks_of_another_job(tmp_path: Path) -> None:
    outer = {"PATH": "/bin", "RANK": "3", "SLURM_PROCID": "3", "OMPI_COMM_WORLD_RANK": "1", "CUDA_VISIBLE_DEVICES": "4"}
    assert plan(tmp_path, cpus=2).environment(outer) == {
        "PATH": "/bin", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    assert plan(tmp_path, cpus=0.5, gpus=0.5).environment(outer)["CUDA_VISIBLE_DEVICES"] == "4"
    assert plan(tmp_path, cpus=0.5).environment(outer)["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("log", "code", "reason"),
    [
        ("noise\nerror: the loss became nan; lower it.\nTraceback\n", 1, "the loss became nan; lower it."),
        ("  raise X\n[rank1]: ValueError: bad\nfoo.ChildFailedError: \n", 1, "ValueError: bad"),
        ("ValueError: -1\n\nThe above\nRuntimeError: Failed to instantiate component 'A'\n", 1, "ValueError: -1"),
        ("torch.OutOfMemoryError: CUDA out of memory.\n", 1, "torch.OutOfMemoryError: CUDA out of memory."),
        ("step 3\n", -9, "ended by SIGKILL"),
        ("step 3\n", 5, "ended with exit code 5; see process.log"),
    ],
)  # fmt: skip
def test_the_reason_of_a_failure_is_one_sentence(log: str, code: int, reason: str) -> None:
    assert failure_reason(log, code) == reason


def test_results_rank_the_trials_and_keep_every_value(tmp_path: Path) -> None:
    trials = [
        {"learning_rate": rate, "loss": {"_target_": "a.DiceLoss", "sigmoid": True}} for rate in (1e-4, 1e-3, 1e-2)
    ]
    ended(tmp_path / "t0", [0.5, 0.4])
    ended(tmp_path / "t1", [], "failed", "broken, as was wanted")
    ended(tmp_path / "t2", [0.7, math.nan], "stopped")
    rows = collect([plan(tmp_path / f"t{index}") for index in range(3)], trials, "score", "max")
    assert [(row["trial"], row["best"], row["epoch"]) for row in rows] == [
        ("t2", 0.7, 1),
        ("t0", 0.5, 1),
        ("t1", None, None),
    ]
    write_csv(rows, "score", tmp_path / "results.csv")
    lines = list(csv.DictReader((tmp_path / "results.csv").open(newline="")))
    assert list(lines[0]) == [
        "trial", "status", "learning_rate", "loss", "best_score", "best_epoch", "epochs", "seconds", "reason",
        "run_dir",
    ]  # fmt: skip
    assert [line["status"] for line in lines] == ["stopped", "finished", "failed"]
    assert lines[2]["reason"] == "broken, as was wanted" and float(lines[1]["learning_rate"]) == 1e-4
    assert json.loads(lines[0]["loss"]) == trials[0]["loss"]
    shown = table(rows, "score")
    assert "DiceLoss(sigmoid=true)" in shown and "0.7000  1 of 2" in shown
    plot_search(rows, "score", tmp_path / "results.png")
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")
    assert collect([plan(tmp_path / f"t{n}") for n in range(3)], trials, "score", "min")[0]["trial"] == "t0"
    assert outcome(tmp_path / "t2", "score", "max")["status"] == "stopped"


def test_a_trial_without_an_end_is_unfinished(tmp_path: Path) -> None:
    folder = ended(tmp_path / "t0", [0.5])
    (folder / "trial.json").unlink()
    shown: list[str] = []
    Progress([plan(folder)], [{"learning_rate": 1}], "score", "max", shown.append)(plan(folder), None)
    assert shown[0].startswith("1/1 t0 unfinished  score 0.5000 in epoch 1  learning_rate=1  was interrupted")
    assert "unfinished" in table(collect([plan(folder)], [{"learning_rate": 1}], "score", "max"), "score")


def test_names_and_values_are_short_in_a_table() -> None:
    assert list(short_names(["a::norm", "b::norm", "lr"]).values()) == ["a::norm", "b::norm", "lr"]
    assert list(short_names(["network_def::norm", "lr"]).values()) == ["norm", "lr"]
    assert [short_value(value) for value in ("batch", ["group", 1], 0.001)] == ["batch", '["group", 1]', "0.001"]


def test_best_override_holds_the_configs_of_the_search() -> None:
    values = {"learning_rate": 0.005, "network_def::norm": "batch"}
    whole = as_override(BUNDLE, ["configs/data/store.json", "configs/recipe/distmis.json"], values)
    parts = [json.loads((BUNDLE / "configs" / name).read_text()) for name in ("data/store.json", "recipe/distmis.json")]
    assert whole["+_desc_"] == parts[0]["+_desc_"] | parts[1]["+_desc_"]
    assert whole["learning_rate"] == 0.005 and whole["network_def"] == parts[1]["network_def"]
    assert set(whole) == set(parts[0]) | set(parts[1]) | set(values)


def test_a_process_ends_when_its_starter_lets_go(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text("import sys, time; print(sys.argv[1], flush=True); time.sleep(100)")
    command = [sys.executable, str(BUNDLE / "scripts" / "tune" / "process.py"), "sleeper", "slept"]
    # The module's folder stands first on the path of a script, this one's on that of its environment.
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(tmp_path)}
    )
    assert process.stdout.readline() == "slept\n"
    began = time.monotonic()
    process.stdin.close()
    assert process.wait(20) != 0
    assert time.monotonic() - began < 20


def test_options_that_contradict_the_search_are_one_sentence(tmp_path: Path) -> None:
    search = read_search(search_file(tmp_path, GRID))
    options = {"config": [], "epochs": None, "num_samples": None}
    with pytest.raises(InputError, match="'learning_rate' is searched and overridden at once"):
        tune.with_options(search, Namespace(override=["learning_rate=1"], **options))
    with pytest.raises(InputError, match="has no '='"):
        tune.with_options(search, Namespace(override=["batch_size"], **options))
    given = tune.with_options(search, Namespace(override=["patch_size=[8,8,8]", "label_scheme=msd"], **options))
    assert given.overrides == {"patch_size": [8, 8, 8], "label_scheme": "msd"}


def test_a_folder_holds_one_search(tmp_path: Path) -> None:
    search = read_search(search_file(tmp_path, GRID))
    options = Namespace(workers_per_trial=1, dataset_dir=None, resume="auto")
    out = tmp_path / "out"
    refuse_other_search(out, search, options)
    assert not out.exists()
    claim(out, search, options)
    refuse_other_search(out, search, options)
    with pytest.raises(InputError, match="another workers_per_trial"):
        refuse_other_search(out, search, Namespace(workers_per_trial=2, dataset_dir=None, resume="auto"))
    with pytest.raises(InputError, match="holds a search"):
        refuse_other_search(out, search, Namespace(workers_per_trial=1, dataset_dir=None, resume="never"))
    with pytest.raises(InputError, match=r"search\.json is no folder"):
        refuse_other_search(out / "search.json", search, options)


def searched(folder: Path, *arguments: str, **space: Any) -> tuple[int, Path]:
    """Exit code of a search that is refused before Ray is started, and the folder that it was to write."""
    search = search_file(folder, GRID | ({"space": space} if space else {}))
    out = folder / "out"
    return tune.main(["--search", str(search), "--bundle_root", str(BUNDLE), "--output_dir", str(out), *arguments]), out


@pytest.mark.parametrize(
    ("arguments", "space", "sentence"),
    [
        (["--override", "batch_size=0"], {}, "batch_size is 0; give a whole number of 1 or more"),
        (["--override", "batchsize=1"], {}, "'batchsize' names nothing in the config; did you mean 'batch_size'?"),
        ([], {"learning_rate": {"grid": [0.1, -1]}}, "learning_rate is -1; give a number above 0"),
        ([], {"loss": {"grid": [{"_target_": "scripts.losses.DiceBCELoss", "squaredd": True}]}}, "'loss::squaredd'"),
        (["--dataset_dir", "nowhere"], {}, "nowhere: there is no such folder"),
    ],
)
def test_what_every_trial_would_refuse_is_refused_before_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], space: dict[str, Any], sentence: str
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    code, out = searched(tmp_path, *arguments, **space)
    error = capsys.readouterr().err
    assert code == 1 and error.count("error: ") == 1 and sentence in error
    assert not out.exists()


@pytest.mark.parametrize("number", ["0", "-3", "many"])
def test_an_option_that_is_no_number_of_samples_says_what_is(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tune.main(["--search", "mine.json", "--num_samples", number])
    assert f"argument --num_samples: is {number}; give a whole number of 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["lr_batch_loss", "distmis_grid"])
def test_the_shipped_searches_have_no_bad_trial(name: str) -> None:
    search = read_search(BUNDLE / "configs" / "search" / f"{name}.json")
    recipes = [tune.recipe(search, values) for values in draw(search)]
    refuse_bad_trials(BUNDLE, merged(BUNDLE, search.configs, search.overrides), recipes)


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "scripts.tune.cluster", raising=False)
    monkeypatch.delattr("scripts.tune.cluster", raising=False)
    arguments = [
        "--search",
        str(search_file(tmp_path, GRID)),
        "--bundle_root",
        str(BUNDLE),
        "--output_dir",
        str(tmp_path),
    ]
    assert tune.main(arguments) == 1
    assert 'pip install "ray[tune,train]"' in capsys.readouterr().err


def test_best_trial_of_several_processes_keeps_its_samplers(tmp_path: Path) -> None:
    """The best trial may bring the store's loader, which deals nothing out by itself."""
    best = tmp_path / "best.json"
    best.write_text((BUNDLE / "configs" / "data" / "store.json").read_text())
    command = tune.training_command(best, Namespace(workers_per_trial=2, dataset_dir=None))
    files = json.loads(command.split('"')[1].replace("'", '"'))
    parser = ConfigParser(ConfigParser.load_config_files([str(BUNDLE / file) for file in files]))
    assert parser["train::dataloader::sampler"] == "@train::sampler"
    assert parser["train::dataloader::shuffle"] is False


def test_credentials_reach_no_file_of_a_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    knob = "tracking_uri=http://me:pa55word@host"
    arguments = ["--search", "configs/search/lr_batch_loss.json", "--bundle_root", str(BUNDLE)]
    arguments += ["--config", "configs/track/mlflow.json", "--override", knob]
    code = tune.main([*arguments, "--output_dir", str(tmp_path / "out")])
    assert code and "looks like a password or key" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
