"""A folder of cases through each kind of endpoint, by boto3, to the real container; held against local inference."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer
from runtime import BUCKET, Runtime, runtime
from served import assert_same_volume, local_inference, serving
from tiny import make_case, save, write_brats_folders

from sm_launch.errors import LaunchError
from sm_launch.predict import ANSWERED, FAILED, SKIPPED, Event, Report, predict_realtime
from sm_launch.predict_async import predict_async
from sm_launch.predict_batch import predict_batch
from sm_launch.predict_cases import answer_name, find_cases
from sm_launch.predict_record import RECORD
from sm_launch.requests_serving import transform_request
from sm_launch.serving import PAYLOAD_BYTES, Serving

pytest_plugins = ["served"]

CREDENTIALS = {"region_name": "eu-west-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}
NO_RETRIES = Config(retries={"total_max_attempts": 1})
MODES = ("realtime", "async", "batch")


@pytest.fixture(scope="module")
def container(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(model_dir, tmp_path_factory.mktemp("server") / "log.txt", MAX_QUEUE="16") as url:
        yield url


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **CREDENTIALS)
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    yield client
    server.stop()


@pytest.fixture
def aws(container: str, s3: Any) -> Iterator[Runtime]:
    with runtime(container, s3) as state:
        yield state


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cases, one of them not compressed, and files that are none."""
    folder = tmp_path_factory.mktemp("cases")
    for seed, name in enumerate(("DOE_JOHN.nii.gz", "b.nii", "c.c.nii.gz")):
        save(make_case(seed + 40)[0], folder / name)
    (folder / "._b.nii").write_bytes(b"of a Mac")
    (folder / "notes.txt").write_text("none")
    return folder


@pytest.fixture(scope="module")
def local(model_dir: Path, cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What local inference writes for the same folder."""
    only = tmp_path_factory.mktemp("cases_alone")
    for name in ("DOE_JOHN.nii.gz", "b.nii", "c.c.nii.gz"):
        shutil.copy(cases / name, only)
    folder = tmp_path_factory.mktemp("local")
    local_inference(model_dir / "bundle", folder, "--dataset_dir", str(only))
    return folder


def client(aws: Runtime, service: str) -> Any:
    return boto3.client(service, endpoint_url=aws.url, config=NO_RETRIES, **CREDENTIALS)


def predict(aws: Runtime, way: str, cases: Path, output: Path, progress: Any = None, **options: Any) -> Report:
    """The same folder in any mode."""
    options = {"progress": progress, "sleep": lambda seconds: None} | options
    if way == "realtime":
        return predict_realtime(cases, output, "brats", client(aws, "sagemaker-runtime"), **options)
    if way == "async":
        source = f"s3://{BUCKET}/cases"
        options["sleep"] = lambda seconds: time.sleep(0.05)
        return predict_async(
            cases, output, "brats", source, client(aws, "sagemaker-runtime"), aws.s3, poll_seconds=0.05, **options
        )
    request = transform_request(
        Serving(
            run="brats-261121160000", image="image", model_uri="s3://b/model.tar.gz", role="role", mode="batch",
            instance_type="ml.m5.xlarge", input_uri=f"s3://{BUCKET}/cases", output_uri=f"s3://{BUCKET}/answers",
        )
    )  # fmt: skip
    return predict_batch(cases, output, request, client(aws, "sagemaker"), aws.s3, **options)


def objects(aws: Runtime) -> list[str]:
    return [item["Key"] for item in aws.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


@pytest.mark.parametrize("mode", MODES)
def test_answers_are_local_inferences_and_a_second_run_sends_nothing(
    aws: Runtime, cases: Path, local: Path, tmp_path: Path, mode: str
) -> None:
    events: list[Event] = []
    report = predict(aws, mode, cases, tmp_path, events.append)
    written = {path.name for path in local.iterdir()}
    assert written == {"DOE_JOHN_seg.nii.gz", "b_seg.nii.gz", "c.c_seg.nii.gz"}
    assert {path.name for path in report.answered.values()} == written
    assert {path.name for path in tmp_path.iterdir()} == written | {RECORD}
    for name in written:
        assert_same_volume((tmp_path / name).read_bytes(), local / name)
    assert [(event.done, event.total, event.state) for event in events] == [(n, 3, ANSWERED) for n in (1, 2, 3)]
    # Nothing of the patients is left in the bucket, and their names never were there.
    assert objects(aws) == []
    assert not any("DOE" in key for key in aws.keys)

    events.clear()
    again = predict(aws, mode, cases, tmp_path, events.append)
    assert len(aws.bodies) == 3
    assert sorted(again.skipped) == ["DOE_JOHN", "b", "c.c"] and not again.answered
    assert {event.state for event in events} == {SKIPPED}


def test_changed_input_and_damaged_answer_are_sent_again(aws: Runtime, cases: Path, tmp_path: Path) -> None:
    source = tmp_path / "cases"
    shutil.copytree(cases, source)
    predict(aws, "realtime", source, tmp_path / "out")
    save(make_case(99)[0], source / "b.nii")
    (tmp_path / "out" / "c.c_seg.nii.gz").write_bytes(b"half")
    report = predict(aws, "realtime", source, tmp_path / "out")
    assert sorted(report.answered) == ["b", "c.c"] and report.skipped == ["DOE_JOHN"]


@pytest.mark.parametrize("mode", MODES)
def test_bad_case_fails_alone_with_its_reason(aws: Runtime, cases: Path, tmp_path: Path, mode: str) -> None:
    source = tmp_path / "cases"
    shutil.copytree(cases, source)
    (source / "bad.nii.gz").write_bytes(b"garbage")
    events: list[Event] = []
    report = predict(aws, mode, source, tmp_path / "out", events.append)
    assert sorted(report.answered) == ["DOE_JOHN", "b", "c.c"]
    assert list(report.failed) == ["bad"]
    assert ("wrote no answer" if mode == "batch" else "no NIfTI file") in report.failed["bad"]
    assert [event.case for event in events if event.state == FAILED] == ["bad"]
    # It is tried again, alone.
    (source / "bad.nii.gz").unlink()
    save(make_case(98)[0], source / "bad.nii.gz")
    sent = len(aws.bodies)
    assert list(predict(aws, mode, source, tmp_path / "out").answered) == ["bad"]
    assert len(aws.bodies) == sent + 1
    assert objects(aws) == []


def test_busy_endpoint_and_broken_connections_are_waited_for(aws: Runtime, cases: Path, tmp_path: Path) -> None:
    aws.faults.extend([(400, "ThrottlingException"), (0, ""), (503, "ServiceUnavailable"), (429, "ModelError")])
    pauses: list[float] = []
    report = predict(aws, "realtime", cases, tmp_path, sleep=pauses.append)
    assert len(report.answered) == 3
    assert len(pauses) == 4
    # Each pause is at most twice the one before, and at least half of its own ceiling.
    assert all(2**attempt / 2 <= pause <= 2**attempt for attempt, pause in enumerate(pauses))


def test_endpoint_that_stays_busy_ends_the_run_which_can_go_on(aws: Runtime, cases: Path, tmp_path: Path) -> None:
    predict(aws, "realtime", cases, tmp_path)
    (tmp_path / "b_seg.nii.gz").unlink()
    aws.faults.extend([(400, "ThrottlingException")] * 8)
    with pytest.raises(LaunchError, match="in 8 attempts.*goes on with the cases that are left"):
        predict(aws, "realtime", cases, tmp_path)
    assert list(predict(aws, "realtime", cases, tmp_path).answered) == ["b"]


def test_refusal_of_aws_is_one_sentence(aws: Runtime, cases: Path, tmp_path: Path) -> None:
    aws.faults.append((400, "AccessDeniedException"))
    with pytest.raises(LaunchError, match="could not ask the endpoint brats: AWS says AccessDeniedException"):
        predict(aws, "realtime", cases, tmp_path)


def test_stopped_run_fetches_what_was_asked_for(aws: Runtime, cases: Path, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(seconds: float) -> None:
        raise Stopped

    source = tmp_path / "cases"
    source.mkdir()
    shutil.copy(cases / "b.nii", source)
    gate = aws.container_answer
    asked_again = threading.Event()

    def slow(*arguments: Any) -> Any:
        # The first look comes before the answer.
        asked_again.wait()
        return gate(*arguments)

    aws.container_answer = slow
    with pytest.raises(Stopped):
        predict_async(
            source, tmp_path / "out", "brats", f"s3://{BUCKET}/cases", client(aws, "sagemaker-runtime"), aws.s3,
            sleep=stop,
        )  # fmt: skip
    asked_again.set()
    report = predict(aws, "async", source, tmp_path / "out")
    assert list(report.answered) == ["b"]
    assert len(aws.bodies) == 1


def test_stopped_run_finds_its_own_job(aws: Runtime, cases: Path, tmp_path: Path) -> None:
    predict(aws, "batch", cases, tmp_path / "out", tidy=False)
    (name,) = aws.jobs
    assert name.startswith("brats-261121160000-transform-") and len(name) <= 63
    shutil.rmtree(tmp_path / "out")
    report = predict(aws, "batch", cases, tmp_path / "out")
    assert len(report.answered) == 3 and list(aws.jobs) == [name]
    assert len(aws.bodies) == 3


def test_job_that_failed_is_tried_under_another_name(aws: Runtime, cases: Path, tmp_path: Path) -> None:
    source = tmp_path / "cases"
    source.mkdir()
    (source / "bad.nii.gz").write_bytes(b"garbage")
    for _ in range(2):
        report = predict(aws, "batch", source, tmp_path / "out")
        assert "See job logs" in report.failed["bad"]
    first, second = aws.jobs
    assert second == f"{first}-1"


@pytest.mark.parametrize("mode", ["realtime", "serverless"])
def test_too_large_case_is_refused_before_anything_is_sent(
    aws: Runtime, cases: Path, tmp_path: Path, mode: str
) -> None:
    source = tmp_path / "cases"
    shutil.copytree(cases, source)
    with (source / "large.nii.gz").open("wb") as file:
        file.truncate(PAYLOAD_BYTES[mode] + 1)
    with pytest.raises(LaunchError, match=f"large.nii.gz has .* MB, and {mode} inference takes"):
        predict(aws, "realtime", source, tmp_path / "out", mode=mode)
    assert aws.bodies == []


def test_two_cases_of_one_content_are_two_cases(aws: Runtime, cases: Path, tmp_path: Path) -> None:
    source = tmp_path / "cases"
    source.mkdir()
    for name in ("one.nii", "two.nii"):
        shutil.copy(cases / "b.nii", source / name)
    for mode in MODES:
        assert len(predict(aws, mode, source, tmp_path / mode).answered) == 2


@pytest.mark.parametrize("mode", MODES)
def test_folders_of_cases_as_brats_has_them(aws: Runtime, model_dir: Path, tmp_path: Path, mode: str) -> None:
    write_brats_folders(tmp_path / "cases", cases=2)
    (tmp_path / "cases" / "notes").mkdir()
    report = predict(aws, mode, tmp_path / "cases", tmp_path / "out")
    assert sorted(report.answered) == ["BraTS2021_00000", "BraTS2021_00001"]
    assert not any(b"BraTS2021" in body for body in aws.bodies)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        RECORD, "BraTS2021_00000_seg.nii.gz", "BraTS2021_00001_seg.nii.gz",
    }  # fmt: skip
    # The same voxels in one file give the same labels.
    joined = save(make_case(1)[0], tmp_path / "joined" / "one.nii.gz")
    predict(aws, "realtime", joined.parent, tmp_path / "out")
    assert_same_volume((tmp_path / "out" / "one_seg.nii.gz").read_bytes(), report.answered["BraTS2021_00001"])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "is no folder"),
        (lambda folder: folder.mkdir(), "holds no .nii.gz"),
        (lambda folder: [save(make_case(0)[0], folder / name) for name in ("a.nii", "a.nii.gz")], "both of a case a"),
    ],
)
def test_folder_without_cases_is_one_sentence(tmp_path: Path, make: Any, words: str) -> None:
    make(tmp_path / "cases")
    with pytest.raises(LaunchError, match=words):
        find_cases(tmp_path / "cases")


def test_damaged_record_is_one_sentence(aws: Runtime, cases: Path, tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text("{")
    with pytest.raises(LaunchError, match="is damaged.*remove it"):
        predict(aws, "realtime", cases, tmp_path)


def test_answers_are_named_for_what_they_are() -> None:
    assert answer_name("a", b"\x1f\x8b...") == "a_seg.nii.gz"
    assert answer_name("a", json.dumps({"class": "x"}).encode()) == "a.json"
    assert answer_name("a", b"\x5c\x01\x00\x00") == "a_seg.nii"
