"""``local`` serves the plan's model, whichever way it is packed."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from programs import IMAGE, SERVE
from specs import plan_of

from sm_launch import local_plan
from sm_launch.checks import problems
from sm_launch.errors import LaunchError
from sm_launch.local import FolderStore, start_server
from sm_launch.steps import Plan

ARCHIVE, FOLDER = "s3://brats-bucket/m/model.tar.gz", "s3://brats-bucket/m/unpacked/"


def serving(model: str) -> Plan:
    plan = plan_of(train=None, deploy={"image": IMAGE, "instance_type": "ml.g5.xlarge", "model": model})
    assert problems(plan) == []
    return plan


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """One model as an archive, another as files, and a folder whose name only begins as that of the files."""
    found = FolderStore(tmp_path / "s3")
    files = {"m/unpacked/manifest.json": b"{}", "m/unpacked/bundle/a.json": b"{}", "m/unpacked_old/b.json": b"{}"}
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("packed"))
    for key, content in {**files, "m/model.tar.gz": file.getvalue()}.items():
        (tmp_path / "file").write_bytes(content)
        found.upload(tmp_path / "file", f"s3://brats-bucket/{key}")
    return found


class Enough(Exception):
    """The user has seen what he wanted."""


@pytest.mark.parametrize("model, names", [(ARCHIVE, ["packed"]), (FOLDER, ["bundle", "manifest.json"])])
def test_a_model_is_served(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, names: list[str]
) -> None:
    (tmp_path / "serve.py").write_text(SERVE)
    program = [sys.executable, str(tmp_path / "serve.py")]
    monkeypatch.setattr(local_plan, "start_server", lambda command, *rest, **more: start_server(program, *rest, **more))
    answers: list[Any] = []

    def show(line: str) -> None:
        with urllib.request.urlopen(line.split()[-1], data=b"case") as answer:
            answers.append(json.loads(answer.read()))
        raise Enough

    work = tmp_path / "work"
    # Of an earlier model.
    (work / "model").mkdir(parents=True)
    (work / "model" / "old").touch()
    with pytest.raises(Enough):
        local_plan.serve_model(serving(model), store, work, show)
    assert answers[0]["model"] == names


@pytest.mark.parametrize("model", ["s3://brats-bucket/n/model.tar.gz", "s3://brats-bucket/n/unpacked/"])
def test_a_model_that_is_not_here_is_one_sentence(store: FolderStore, tmp_path: Path, model: str) -> None:
    with pytest.raises(LaunchError, match=f"{model}: there is no such .* there.$"):
        local_plan.serve_model(serving(model), store, tmp_path / "work", print)
