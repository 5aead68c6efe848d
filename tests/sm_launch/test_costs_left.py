"""What costs after a run: a build that goes on, files that stay, and what ``ls`` still knows of what is deleted."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from moto.codebuild.models import CodeBuildBackend
from programs import BUCKET as PROGRAMS
from programs import INSTANCE, tuning
from test_faults import BUCKET, IMAGE, MODEL, RUN, User, user  # noqa: F401 - a fixture

from sm_launch.manifest import MADE, Entry, Manifest
from sm_launch.prices import TablePrices
from sm_launch.spending import spent


def slow_build(self: CodeBuildBackend, ids: list[str]) -> list[dict[str, Any]]:
    """Builds as they are: moto's own end with the first look."""
    return [build for builds in self.build_metadata_history.values() for build in builds if build["id"] in ids]


@pytest.fixture
def building(user: User, monkeypatch: pytest.MonkeyPatch) -> User:  # noqa: F811
    """A user whose image takes longer to build than the user waits."""

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    user.spec |= {"train": None, "data": None, "image": {"role": user.account.role}}
    with monkeypatch.context() as patch:
        patch.setattr(CodeBuildBackend, "batch_get_builds", slow_build)
        patch.setattr(time, "sleep", interrupt)
        code, out, err = user.applies("--no-quotas")
    assert code == 130, out + err
    monkeypatch.setattr(CodeBuildBackend, "batch_get_builds", slow_build)
    return user


def builds_of(user: User) -> list[dict[str, Any]]:  # noqa: F811
    client = user.account.session().client("codebuild")
    return client.batch_get_builds(ids=client.list_builds()["ids"])["builds"]


def test_a_running_build_is_stopped(building: User) -> None:
    assert [one["buildStatus"] for one in builds_of(building)] == ["IN_PROGRESS"]
    code, out, _ = building.types("down", RUN, "--yes", "--poll", "0.1")
    assert (code, "nothing is left that runs" in out) == (0, True), out
    assert [one["buildStatus"] for one in builds_of(building)] == ["STOPPED"]


@pytest.mark.parametrize("answered", [True, False])
def test_a_build_is_not_started_twice(building: User, answered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not answered:
        file = building.folder / "home" / f"{RUN}.json"
        content = json.loads(file.read_text())
        (build,) = [entry for entry in content["entries"] if entry["kind"] == "build"]
        build["state"] = "asked"
        del build["facts"]["id"]
        file.write_text(json.dumps(content))
    monkeypatch.undo()
    monkeypatch.setenv("SM_LAUNCH_HOME", str(building.folder / "home"))
    code, out, err = building.applies("--no-quotas")
    assert code == 0, out + err
    assert len(builds_of(building)) == 1


def test_files_that_stay_are_named_until_they_are_gone(user: User, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "Task").mkdir()
    (tmp_path / "Task" / "a.txt").write_text("case")
    user.spec["data"] = {"source": str(tmp_path / "Task")}
    user.account.faults.fail_job(f"{RUN}.*", "AlgorithmError: told to fail")
    user.applies()
    own, shared = (f"still costs: s3://{BUCKET}/sm-launch/{place}/ (" for place in (f"runs/{RUN}", "data/Task"))
    words = ("down", RUN, "--yes", "--poll", "0.1")
    out = user.types(*words)[1]
    assert own in out and f"{shared}1 objects, 0.0 MB; copied by the run, other runs may read it)" in out
    out = user.types(*words, "--files")[1]
    assert own not in out and shared in out
    user.s3.delete_object(Bucket=BUCKET, Key="sm-launch/data/Task/a.txt")
    assert "still costs" not in user.types(*words)[1]


def test_an_endpoints_log_group_goes_and_its_cost_is_kept(user: User) -> None:  # noqa: F811
    user.spec |= {"train": None, "data": None, "deploy": {"image": IMAGE, "instance_type": INSTANCE, "model": MODEL}}
    user.account.faults.fail_endpoint(f"{RUN}.*", "told to fail")
    user.applies()
    logs = user.account.session().client("logs")
    for name in (f"/aws/sagemaker/Endpoints/{RUN}-endpoint", "/aws/sagemaker/Endpoints/other"):
        logs.create_log_group(logGroupName=name)
    user.is_clean_after_down()
    assert [one["logGroupName"] for one in logs.describe_log_groups()["logGroups"]] == [
        "/aws/sagemaker/Endpoints/other"
    ]
    (line,) = [line for line in user.types("ls")[1].splitlines() if f"{RUN}-endpoint" in line]
    assert re.search(r"gone  \d+\.\d\d USD$", line)


def test_a_damaged_manifest_hides_no_other(user: User, caplog: pytest.LogCaptureFixture) -> None:  # noqa: F811
    user.account.faults.deny("CreateTrainingJob")
    user.applies()
    (user.folder / "home" / "broken-1.json").write_text('{"format": 1, "entries": [')
    code, out, _ = user.types("ls")
    assert code == 0 and out.startswith(RUN)
    assert any("broken-1.json: is no run manifest" in message for message in caplog.messages)


def test_trials_and_kept_machines_are_priced(account: Any) -> None:
    client = account.session().client("sagemaker")
    client.create_hyper_parameter_tuning_job(**tuning("search", account.role))
    fleet = {"instance_type": INSTANCE, "instance_count": 1}
    manifest = Manifest("r", account.region, PROGRAMS, "runs/r", "standard")
    manifest.entries = [Entry("tuning-job", "search", MADE, fleet)]
    describe = client.describe_hyper_parameter_tuning_job
    while describe(HyperParameterTuningJobName="search")["HyperParameterTuningJobStatus"] == "InProgress":
        time.sleep(0.1)
    names = [one["TrainingJobName"] for one in client.list_training_jobs()["TrainingJobSummaries"]]
    billed = sum(client.describe_training_job(TrainingJobName=name)["BillableTimeInSeconds"] for name in names)
    hourly = TablePrices(account.region).instance_hour(INSTANCE, "training")
    found = spent(manifest, account.session())
    assert len(names) == 2 and billed > 0
    assert found.complete and found.dollars == pytest.approx(billed / 3600 * hourly)
