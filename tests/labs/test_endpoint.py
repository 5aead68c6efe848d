"""Lab 09's endpoint: a real container program on this machine, asked in three ways; and the exercises' answers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from labkit import serving_checks
from labkit.checks import NotYet
from labkit.endpoint import Endpoint, RefusedCase, cases_folder, make_artifact
from tiny import TINY
from workflow import run

from sm_launch.container.serve.artifact import verified
from sm_launch.errors import LaunchError
from sm_launch.predict_cases import Case, find_cases
from sm_launch.serving import MB


@pytest.fixture(scope="module")
def artifact(tiny_decathlon: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of a training of one epoch on the tiny data."""
    work = tmp_path_factory.mktemp("trained")
    run(work, "train.json", dataset_dir=str(tiny_decathlon), **TINY)
    return make_artifact(work / "models", work / "artifact")


@pytest.fixture(scope="module")
def cases(tiny_decathlon: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Two cases of the tiny data, as they are sent."""
    images = sorted((tiny_decathlon / "imagesTr").glob("*.nii.gz"))[:2]
    listed = [{"case": path.name, "image": [str(path)]} for path in images]
    return cases_folder(listed, tmp_path_factory.mktemp("cases"))


@pytest.fixture(scope="module")
def endpoint(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A running endpoint."""
    running = Endpoint(artifact, tmp_path_factory.mktemp("endpoint"))
    yield running
    running.stop()
    assert running.server.returncode() is not None


def test_artifact_is_what_its_manifest_says(artifact: Path) -> None:
    found = verified(artifact)
    assert (found.bundle / "models" / "model.pt").is_file() and not (found.bundle / "runs").exists()


def test_three_ways_give_the_same_answer(endpoint: Endpoint, cases: list[Case], tmp_path: Path) -> None:
    answers = [endpoint.realtime(case) for case in cases]
    assert [answer.status for answer in answers] == [200, 200] and endpoint.cold_start_s > 0
    promised = [endpoint.submit(case, tmp_path / "async") for case in cases]
    queued = [promise.result() for promise in promised]
    walked = endpoint.batch(cases, tmp_path / "batch")
    assert [path.name for path in queued] == [f"{case.name}_seg.nii.gz" for case in cases]
    assert [path.name for path in walked] == [f"{case.name}.nii.gz.out" for case in cases]
    contents = [answer.content for answer in answers]
    assert contents == [path.read_bytes() for path in queued] == [path.read_bytes() for path in walked]


def test_callers_at_once_are_all_answered(endpoint: Endpoint, cases: list[Case]) -> None:
    answers = endpoint.together([cases[0]] * 2)
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content


def test_volumes_are_told_as_json(endpoint: Endpoint, cases: list[Case]) -> None:
    (told,) = endpoint.realtime(cases[0], accept="application/json").json()["files"]
    assert told["shape"] == [24, 28, 20]


def test_what_cannot_be_computed_is_a_sentence(endpoint: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "broken.nii.gz").write_bytes(b"no image")
    (broken,) = find_cases(tmp_path / "cases")
    assert endpoint.realtime(broken).status == 400
    with pytest.raises(RefusedCase, match="broken: the container says 400"):
        endpoint.submit(broken, tmp_path / "answers").result()


def test_cases_beyond_the_limit_are_not_sent(endpoint: Endpoint) -> None:
    with pytest.raises(LaunchError, match="realtime inference takes 25 MB"):
        endpoint.realtime(Case("large", (Path("large.nii.gz"),), 26 * MB, ""))


def test_a_case_of_several_files_gets_a_folder(tmp_path: Path) -> None:
    files = [tmp_path / f"P1_{modality}.nii.gz" for modality in ("flair", "t1")]
    for file in files:
        file.write_bytes(b"x")
    (case,) = cases_folder([{"case": "P1", "image": [str(file) for file in files]}], tmp_path / "cases")
    assert case.name == "P1" and case.ending == ".tar"
    shutil.rmtree(tmp_path / "cases")


def test_verdicts_of_all_modes() -> None:
    rows = {mode: said for mode, said in serving_checks.verdicts({"a case": int(9.6 * MB)})}
    assert rows["realtime"] == rows["async"] == rows["batch"] == "takes it"
    assert "9.6 MB, and serverless inference takes 4 MB" in rows["serverless"]


@pytest.mark.parametrize(
    ("modes", "hint"),
    [
        (..., "no answer"),
        ({"pigeon"}, "Choose among"),
        ({"async"}, "one more"),
        ({"async", "batch", "realtime", "serverless"}, "less than"),
    ],
)
def test_mode_exercise_hints(modes: object, hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        serving_checks.check_modes(modes)


def test_mode_exercise_takes_the_three(capsys: pytest.CaptureFixture[str]) -> None:
    serving_checks.check_modes({"async", "batch", "realtime"})
    assert "Right" in capsys.readouterr().out


@pytest.mark.parametrize(("day", "hint"), [(..., "no answer"), ("1", "number"), (33.79, "all day"), (5.0, "Count")])
def test_day_exercise_hints(day: object, hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        serving_checks.check_async_day(day, "ml.g5.xlarge")


def test_day_exercise_takes_the_hours_awake(capsys: pytest.CaptureFixture[str]) -> None:
    serving_checks.check_async_day(1.408, "ml.g5.xlarge")
    assert "$33.79" in capsys.readouterr().out
