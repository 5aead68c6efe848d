"""Lab 06's helpers: plans, rights, leaks, the published bill, and the exercises' answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from labkit import launching
from labkit.checks import NotYet
from labkit.launch_plans import cost, plan_of

from sm_launch.commands_plan import policies

RUN = "lab06-1"
BUNDLE = Path(__file__).resolve().parents[2] / "bundle"
DATA = "s3://my-brats-bucket/data"


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec of a short training, as the lab writes it."""
    content = {
        "name": "lab06", "bundle": str(BUNDLE), "region": "us-east-1", "bucket": {"name": "my-brats-bucket"},
        "role": "arn:aws:iam::123456789012:role/SageMakerExecution", "data": {"source": DATA},
        "train": {"instance_type": "ml.c5.4xlarge", "max_hours": 2, "expected_hours": 0.5},
    }  # fmt: skip
    return launching.write_spec(tmp_path_factory.mktemp("spec") / "spec.yaml", content)


def test_ceiling_is_the_time_limit_times_the_price(spec: Path) -> None:
    found = cost(plan_of(spec, RUN))
    assert found.high == pytest.approx(4 * found.low)
    assert found.high == pytest.approx(2 * 0.816, rel=0.05)


def test_the_role_reads_the_data_and_deletes_none_of_it(spec: Path) -> None:
    role = policies(plan_of(spec, RUN))["role"]
    case = "arn:aws:s3:::my-brats-bucket/data/imagesTr/case.nii.gz"
    assert launching.may(role, "s3:GetObject", case)
    assert not launching.may(role, "s3:DeleteObject", case)
    assert not launching.may(role, "s3:GetObject", "arn:aws:s3:::another-bucket/data/case.nii.gz")


def test_rights_name_each_statement(spec: Path) -> None:
    shown = launching.rights(plan_of(spec, RUN), "role")
    assert ["s3:GetObject", f"{DATA.removeprefix('s3://')}/*, my-brats-bucket/sm-launch/runs/{RUN}/*"] in shown.rows


@pytest.mark.parametrize("change", ["train.overrides.epoch=3", "train.keep_alive_minutes=90", "train.max_hours=0"])
def test_bad_specs_are_refused_in_a_sentence(spec: Path, change: str) -> None:
    assert len(launching.refusals(spec, RUN, [change])) == 1
    assert not launching.refusals(spec, RUN, [])


@pytest.mark.parametrize(
    ("way", "place"),
    [
        ("environment", ["CreateTrainingJob.Environment.WANDB_API_KEY"]),
        ("override", ["job.json"]),
        ("tag", ["CreateTrainingJob.Tags[0].Value"]),
        ("role", []),
    ],
)
def test_where_a_key_stands(spec: Path, way: str, place: list[str]) -> None:
    assert launching.carriers(plan_of(spec, RUN, [launching.TRACKER_WAYS[way]])) == place


def test_published_runs_cost_hours_times_machines_times_price() -> None:
    one, eight, sixteen = launching.published_runs()
    assert (one.gpus, eight.gpus, sixteen.gpus) == (1, 8, 16)
    assert sixteen.dollars == pytest.approx(10 * 1300 / 3600 * 2 * 28.152)
    assert eight.dollars < sixteen.dollars < one.dollars
    assert launching.published_bill(16).rows[-1][-1] == "$203.32"


def test_seconds_of_epochs_are_read_off_a_job_s_log() -> None:
    line = "algo-1 | 19:43:53 epoch {}/2  loss 1.5  Dice 0.01 (TC 0.0 WT 0.0 ET 0.0)  {} s  11.5 samples/s  left 0 min"
    assert launching.training_seconds("\n".join([line.format(1, 1.9), line.format(2, 2.8)])) == pytest.approx(4.7)
    with pytest.raises(ValueError, match="no line"):
        launching.training_seconds("Starting: Preparing the instances for training")


@pytest.mark.parametrize(("wait", "hint"), [(..., "no answer"), ("long", "number"), (2, "room")])
def test_spot_exercise_hints(spec: Path, wait: object, hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        launching.check_spot(spec, RUN, wait)


def test_spot_exercise_takes_a_wait_that_holds_the_run(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launching.check_spot(spec, RUN, 24)
    assert "Right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("leaks", "hint"),
    [
        (..., "no answer"),
        ({"letter"}, "no way called 'letter'"),
        ({"environment", "role"}, "no key at all"),
        ({"environment"}, "2 more"),
    ],
)
def test_leak_exercise_hints(spec: Path, leaks: object, hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        launching.check_leaks(spec, RUN, leaks)


def test_leak_exercise_takes_the_ways_that_leak(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launching.check_leaks(spec, RUN, {"environment", "override", "tag"})
    assert "Right" in capsys.readouterr().out
