"""The caller's policy allows every call that the commands make: the calls are recorded, not listed by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from calls import Recorder
from emulator import aws
from test_faults import BUCKET, IMAGE, MODEL, RUN, User

DEPLOY = {"image": IMAGE, "instance_type": "ml.c5.xlarge", "model": MODEL}
MODES = {
    "training": {"train": {"instance_type": "ml.c5.xlarge", "keep_alive_minutes": 5}},
    "async": {"train": None, "deploy": DEPLOY | {"mode": "async"}},
    "realtime": {"train": None, "deploy": DEPLOY | {"mode": "realtime"}},
    "batch": {"train": None, "deploy": DEPLOY | {"mode": "batch", "input": f"s3://{BUCKET}/cases"}},
    "image": {"train": None, "data": None, "image": {}},
    "tuning": {"tune": {"search": "configs/search.json"}},
    "lustre": {"file_system": {"kind": "PERSISTENT_2"}},
    "bucket": {"bucket": {"name": "a-new-bucket", "create": True}},
}

SEARCH = {"space": {"epochs": {"choice": [1, 2]}}, "epochs": 1, "algorithm": "grid"}


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[User]:
    monkeypatch.setenv("SM_LAUNCH_HOME", str(tmp_path / "home"))
    with aws(folder=tmp_path / "aws") as account:
        yield User(account, tmp_path, capsys)


def policy_of(user: User) -> list[dict[str, Any]]:
    code, out, err = user.types("policy", str(user.folder / "spec.yaml"), "--run", RUN)
    assert code == 0, err
    return json.loads(out)["caller"]


def network(user: User) -> dict[str, list[str]]:
    ec2 = user.account.session().client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="lustre", Description="x", VpcId=vpc)["GroupId"]
    return {"subnets": [subnet], "security_groups": [group]}


@pytest.mark.parametrize("mode", MODES)
def test_caller_may_do_what_the_commands_do(user: User, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    user.spec |= MODES[mode]
    if mode == "image":
        user.spec["image"] = {"role": user.account.role}
    if mode == "lustre":
        user.spec["security"] = network(user)
    (user.folder / "bundle" / "configs" / "search.json").write_text(json.dumps(SEARCH))
    # Nothing runs: jobs and endpoints fail before their container starts.
    user.account.faults.fail_job(f"{RUN}.*", "AlgorithmError: told to fail")
    user.account.faults.fail_endpoint(f"{RUN}.*", "told to fail")
    policies = policy_of(user)
    recorder = Recorder(monkeypatch)
    code, out, err = user.applies()
    # The failure is the one that was asked for; of an image's build there is none.
    assert "told to fail" in out + err or mode == "image", out + err
    if mode != "image":
        user.types("follow", RUN, "--poll", "0.1")
    user.types("ls")
    code, out, err = user.types("down", RUN, "--yes", "--files", "--poll", "0.1")
    assert code == 0, out + err
    assert len(recorder.asked) > 8
    assert recorder.refused_by(policies) == set()
