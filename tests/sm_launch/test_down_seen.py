"""``down`` with credentials that see nothing, with a manifest that is wrong or cannot be written, past refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_faults import BUCKET, IMAGE, MODEL, RUN, User, user  # noqa: F401 - a fixture

from sm_launch.down import down, left
from sm_launch.errors import LaunchError
from sm_launch.manifest import GONE, MADE, Entry, Manifest


@pytest.fixture
def deployed(user: User) -> User:  # noqa: F811
    """A user whose endpoint stands there failed."""
    user.spec["train"] = None
    user.spec["deploy"] = {"image": IMAGE, "instance_type": "ml.c5.xlarge", "model": MODEL}
    user.account.faults.fail_endpoint(f"{RUN}.*", "x")
    user.applies()
    user.account.faults.clear()
    assert user.entries()["endpoint"] == MADE
    return user


def rewrite(user: User, **changes: Any) -> None:  # noqa: F811
    """Change the manifest."""
    file = user.folder / "home" / f"{RUN}.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def content_of(user: User) -> dict[str, Any]:  # noqa: F811
    """The manifest."""
    return json.loads((user.folder / "home" / f"{RUN}.json").read_text())


@pytest.mark.parametrize(
    "words", [("down", RUN, "--yes"), ("results", RUN), ("follow", RUN), ("predict", RUN, "cases", "out")]
)
def test_credentials_of_another_account_are_refused(deployed: User, words: tuple[str, ...]) -> None:
    own = content_of(deployed)["account"]
    rewrite(deployed, account="999988887777")
    before = content_of(deployed)
    code, out, err = deployed.types(*words)
    assert code == 1 and "nothing is left" not in out
    assert f"run {RUN} is of account 999988887777, and your credentials are of {own}; choose others by" in err
    assert content_of(deployed) == before


def test_a_run_of_another_account_is_listed_among_others(deployed: User) -> None:
    manifest = content_of(deployed)
    (deployed.folder / "home" / "other.json").write_text(
        json.dumps(manifest | {"run": "other", "account": "999988887777"})
    )
    code, out, err = deployed.types("ls")
    assert code == 0, err
    lines = out.splitlines()
    assert any(
        line.startswith("other ") and "of account 999988887777: seen with its --aws-profile" in line for line in lines
    )
    assert any(line.startswith(f"{RUN} ") and "account" not in line for line in lines)


def test_a_run_does_not_go_on_in_another_account(deployed: User) -> None:
    rewrite(deployed, account="999988887777")
    code, _, err = deployed.applies()
    assert code == 1 and f"run {RUN} is of account 999988887777" in err


def test_what_was_noted_as_gone_and_is_there_is_removed(deployed: User) -> None:
    rewrite(deployed, entries=[entry | {"state": GONE} for entry in content_of(deployed)["entries"]])
    code, out, _ = deployed.types("down", RUN, "--yes", "--poll", "0.1")
    assert code == 0
    # What is deleted is shown before the question.
    assert f"  endpoint         {RUN}" in out and "nothing that is not gone" not in out
    deployed.is_clean_after_down()


def test_a_strangers_thing_of_a_name_that_is_gone_is_left(deployed: User) -> None:
    assert deployed.types("down", RUN, "--yes", "--poll", "0.1")[0] == 0
    client = deployed.account.session().client("sagemaker")
    container = {"Image": IMAGE, "ModelDataUrl": MODEL}
    client.create_model(ModelName=f"{RUN}-model", ExecutionRoleArn=deployed.account.role, PrimaryContainer=container)
    code, out, _ = deployed.types("down", RUN, "--yes", "--poll", "0.1")
    assert (code, "nothing is left that runs" in out) == (0, True), out
    assert client.describe_model(ModelName=f"{RUN}-model")["PrimaryContainer"]["ModelDataUrl"] == MODEL
    assert deployed.entries()["model"] == GONE


def test_a_manifest_that_cannot_be_written_does_not_end_the_work(deployed: User, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    entries = [Entry(**entry) for entry in content_of(deployed)["entries"]]
    manifest = Manifest(RUN, deployed.account.region, BUCKET, "runs/r", "standard", entries=entries)
    manifest.path = tmp_path / "file" / "r.json"
    session = deployed.account.session()
    (problem,) = down(manifest, session, poll_seconds=0.1)
    assert "r.json: cannot be written" in problem and "so what the run has is not noted" in problem
    assert left(manifest, session) == []


def test_a_manifest_that_cannot_be_written_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = Manifest("r", "us-east-1", BUCKET, "runs/r", "standard", path=tmp_path / "r.json")
    manifest.save()
    before = manifest.path.read_text()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(LaunchError, match="No space left on device.*free some space"):
        manifest.save()
    assert [file.name for file in tmp_path.iterdir()] == ["r.json"] and manifest.path.read_text() == before


def test_a_refusal_in_s3_hides_no_other_problem(deployed: User) -> None:
    deployed.account.faults.deny("DeleteEndpointConfig")
    deployed.account.faults.refuse_http("GET", f"/{BUCKET}")
    code, out, _ = deployed.types("down", RUN, "--yes", "--files", "--poll", "0.1")
    assert code == 1
    assert "left: could not delete the endpoint-config" in out
    assert "left: could not list the run's files" in out and f"left: endpoint-config {RUN}-config" in out


def test_a_bucket_that_was_never_made_holds_no_files(deployed: User) -> None:
    rewrite(deployed, bucket="never-made-bucket")
    code, out, _ = deployed.types("down", RUN, "--yes", "--files", "--poll", "0.1")
    assert (code, "deleted 0 objects of the run" in out) == (0, True), out
