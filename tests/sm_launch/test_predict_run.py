"""``predict`` of a run: by endpoint or batch job, after a question, and never an answer of another model."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from emulator import aws
from programs import SERVE
from test_faults import BUCKET, IMAGE, MODEL, RUN, User

SEND = ("--yes", "--poll", "0.1")


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[User]:
    """A user with two cases, and a spec that serves a small program on one machine."""
    monkeypatch.setenv("SM_LAUNCH_HOME", str(tmp_path / "home"))
    (tmp_path / "serve.py").write_text(SERVE)
    (tmp_path / "cases").mkdir()
    for name in ("a", "b"):
        (tmp_path / "cases" / f"{name}.nii").write_bytes(name.encode())
    with aws(serve_command=[sys.executable, str(tmp_path / "serve.py")], folder=tmp_path / "aws") as account:
        user = User(account, tmp_path, capsys)
        deploy = {"image": IMAGE, "instance_type": "ml.c5.xlarge", "model": MODEL, "mode": "realtime"}
        user.spec |= {"train": None, "deploy": deploy}
        put_model(user, "first")
        yield user


def put_model(user: User, name: str) -> None:
    """A model artifact of one file; the program tells the names of such files."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo(name))
    user.s3.put_object(Bucket=BUCKET, Key="model.tar.gz", Body=file.getvalue())


def applied(user: User, **changes: str) -> None:
    user.spec["deploy"] |= changes
    code, out, err = user.applies()
    assert code == 0, out + err


def models(user: User) -> list[list[str]]:
    """Which model each answer is of."""
    return [json.loads((user.folder / "out" / f"{name}.json").read_text())["model"] for name in ("a", "b")]


def words(user: User) -> tuple[str, ...]:
    return ("predict", RUN, str(user.folder / "cases"), str(user.folder / "out"))


def test_nothing_is_sent_before_yes(user: User) -> None:
    applied(user)
    code, out, err = user.types(*words(user))
    assert code == 1 and "nobody is there to say yes; add --yes." in err
    assert f"2 of 2 cases, 0.0 MB, to the realtime endpoint {RUN}-endpoint in us-east-1" in out
    assert not list((user.folder / "out").glob("*.json"))
    assert "2 answered, 0 answered before" in user.types(*words(user), *SEND)[1]
    # Where nothing is to be sent, nothing is asked.
    code, out, _ = user.types(*words(user))
    assert code == 0 and "0 answered, 2 answered before" in out and "MB, to" not in out


@pytest.mark.parametrize("mode", ["realtime", "async"])
def test_answers_of_another_model_do_not_count(user: User, mode: str) -> None:
    for name in ("first", "second"):
        put_model(user, name)
        applied(user, mode=mode)
        out = user.types(*words(user), *SEND)[1]
        assert "2 answered, 0 answered before, 0 failed" in out, out
        assert models(user) == [[name], [name]]
        assert "0 answered, 2 answered before, 0 failed" in user.types(*words(user), *SEND)[1]
        user.is_clean_after_down()


def test_what_a_deleted_endpoint_owed_is_asked_of_the_next(user: User) -> None:
    applied(user, mode="async")
    assert "2 answered" in user.types(*words(user), *SEND)[1]
    record = user.folder / "out" / ".predictions.json"
    content = json.loads(record.read_text())
    for name, entry in content.items():
        (user.folder / "out" / entry.pop("output")).unlink()
        places = {key: f"s3://{BUCKET}/lost/{key}-{name}" for key in ("input", "output", "failure")}
        entry["waiting"] = places | {"until": 2**40}
    record.write_text(json.dumps(content))
    user.is_clean_after_down()
    applied(user)
    assert "2 answered" in user.types(*words(user), *SEND)[1]


@pytest.mark.parametrize("mode", ["async", "batch"])
def test_a_versioned_bucket_keeps_no_case(user: User, mode: str) -> None:
    user.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    applied(user, mode=mode, **({"input": f"s3://{BUCKET}/cases"} if mode == "batch" else {}))

    def keys() -> set[str]:
        found = user.s3.list_object_versions(Bucket=BUCKET)
        return {one["Key"] for kind in ("Versions", "DeleteMarkers") for one in found.get(kind, ())}

    before = keys()
    assert "2 answered" in user.types(*words(user), *SEND)[1]
    assert keys() == before


def test_batch_jobs_are_of_the_run(user: User) -> None:
    applied(user, mode="batch", input=f"s3://{BUCKET}/cases")
    out = user.types(*words(user), *SEND)[1]
    assert f"2 of 2 cases, 0.0 MB, to a batch job of the model {RUN}-model in us-east-1" in out
    manifest = json.loads((user.folder / "home" / f"{RUN}.json").read_text())
    jobs = [entry for entry in manifest["entries"] if entry["kind"] == "transform-job"]
    assert len(jobs) == 2 and {job["state"] for job in jobs} == {"made"}
    # Cases and answers are back; what is deleted here is asked for again, by a job of its own.
    keys = [one["Key"] for one in user.s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert not [key for key in keys if "/waiting/" in key or "/answered/" in key]
    for file in (user.folder / "out").iterdir():
        file.unlink()
    assert "2 answered, 0 answered before, 0 failed" in user.types(*words(user), *SEND)[1]
    assert user.types("ls")[1].count("transform-job") == 3
    user.is_clean_after_down()
    code, _, err = user.types(*words(user), *SEND)
    assert (
        code == 1 and f"run {RUN} has neither an endpoint nor a model of batch jobs; apply a spec with deploy." in err
    )
