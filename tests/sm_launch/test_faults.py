"""When AWS refuses or breaks off: one sentence, and a manifest from which ``down`` still cleans up everything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from emulator import Account, aws

from sm_launch.cli import main

RUN = "tiny-1"
BUCKET = "tiny-bucket"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/serve:1"
MODEL = f"s3://{BUCKET}/model.tar.gz"
VARIANT = {
    "VariantName": "main", "ModelName": f"{RUN}-model", "InstanceType": "ml.c5.xlarge", "InitialInstanceCount": 1,
}  # fmt: skip
CONFIG = {"dataset_dir": "", "epochs": 1, "run": ["$None"]}


class User:
    """Somebody at a terminal, with a spec whose parts can be changed."""

    def __init__(self, account: Account, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.account, self.folder, self.capsys = account, folder, capsys
        (folder / "bundle" / "configs").mkdir(parents=True)
        (folder / "bundle" / "configs" / "metadata.json").write_text('{"name": "tiny", "version": "0.1"}')
        (folder / "bundle" / "configs" / "train.json").write_text(json.dumps(CONFIG))
        self.spec: dict[str, Any] = {
            "name": "tiny", "bundle": "bundle", "region": account.region, "role": account.role,
            "bucket": {"name": BUCKET}, "data": {"source": f"s3://{BUCKET}/cases"},
            "train": {"instance_type": "ml.c5.xlarge"},
        }  # fmt: skip
        self.s3 = account.session().client("s3")
        self.s3.create_bucket(Bucket=BUCKET)
        for key in ("cases/a.nii.gz", "model.tar.gz"):
            self.s3.put_object(Bucket=BUCKET, Key=key, Body=b"a")

    def types(self, *words: str) -> tuple[int, str, str]:
        """Exit status, output and errors of a command."""
        (self.folder / "spec.yaml").write_text(yaml.safe_dump(self.spec))
        self.capsys.readouterr()
        code = main(list(words))
        out, err = self.capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    def applies(self, *words: str) -> tuple[int, str, str]:
        """``apply`` of the spec."""
        return self.types("apply", str(self.folder / "spec.yaml"), "--run", RUN, "--yes", "--poll", "0.1", *words)

    def refused(self, sentence: str, *words: str) -> None:
        """``apply`` ends with one sentence that has these words, and nothing is left after ``down``."""
        code, _, err = self.applies(*words)
        assert code == 1
        (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
        assert sentence in line
        if (self.folder / "home" / f"{RUN}.json").exists():
            self.is_clean_after_down()

    def is_clean_after_down(self) -> None:
        """``down`` removes all; what is left is what was there before."""
        self.account.faults.clear()
        code, out, _ = self.types("down", RUN, "--yes", "--files", "--poll", "0.1")
        assert (code, "nothing is left that runs" in out) == (0, True), out
        left = [one for one in self.account.everything_left() if one.billed]
        objects = [f"{BUCKET}/cases/a.nii.gz", f"{BUCKET}/model.tar.gz"]
        assert [one.name for one in left] == [BUCKET, *objects]

    def entries(self) -> dict[str, str]:
        """State of each thing in the manifest, by its kind."""
        content = json.loads((self.folder / "home" / f"{RUN}.json").read_text())
        return {entry["kind"]: entry["state"] for entry in content["entries"]}


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[User]:
    monkeypatch.setenv("SM_LAUNCH_HOME", str(tmp_path / "home"))
    with aws(folder=tmp_path / "aws") as account:
        yield User(account, tmp_path, capsys)


def test_access_denied_names_the_action(user: User) -> None:
    user.account.faults.deny("CreateTrainingJob")
    user.refused("ask for the permission of CreateTrainingJob ('sm_launch policy SPEC' prints all that are needed)")


def test_throttling_is_waited_out(user: User) -> None:
    user.account.faults.throttle("CreateTrainingJob", times=1)
    user.account.faults.fail_job(f"{RUN}.*", "AlgorithmError: told to fail")
    code, out, _ = user.applies()
    assert code == 1 and "told to fail" in out
    assert user.entries()["training-job"] == "made"


def test_an_answer_that_was_lost_does_not_make_a_second_job(user: User) -> None:
    user.account.faults.lose_connection("CreateTrainingJob", times=1, executed=True)
    user.account.faults.fail_job(f"{RUN}.*", "AlgorithmError: told to fail")
    code, out, _ = user.applies()
    assert code == 1 and "told to fail" in out
    jobs = user.account.session().client("sagemaker").list_training_jobs()["TrainingJobSummaries"]
    assert [job["TrainingJobName"] for job in jobs] == [f"{RUN}-train"]
    user.is_clean_after_down()


def test_a_connection_that_stays_lost_leaves_what_down_needs(user: User) -> None:
    user.spec["train"] = None
    user.spec["deploy"] = {"image": IMAGE, "instance_type": "ml.c5.xlarge", "model": MODEL}
    user.account.faults.lose_connection("CreateEndpointConfig", times=99, executed=False)
    code, _, err = user.applies()
    assert code == 1 and "could not make the endpoint-config" in err
    # It may exist for all that is known here.
    tags = [{"Key": "sm-launch:run", "Value": RUN}]
    request = {"EndpointConfigName": f"{RUN}-config", "ProductionVariants": [VARIANT], "Tags": tags}
    user.account.faults.clear()
    user.account.session().client("sagemaker").create_endpoint_config(**request)
    assert user.entries() == {"model": "made", "endpoint-config": "asked"}
    user.is_clean_after_down()


def test_no_capacity_ends_with_its_reason(user: User) -> None:
    user.account.faults.no_capacity(f"{RUN}.*")
    code, out, _ = user.applies()
    assert code == 1 and "CapacityError: Unable to provision requested ML compute capacity" in out
    user.is_clean_after_down()


def test_an_endpoint_that_fails_is_removed_with_its_parts(user: User) -> None:
    user.spec["train"] = None
    user.spec["deploy"] = {"image": IMAGE, "instance_type": "ml.c5.xlarge", "model": MODEL}
    user.account.faults.fail_endpoint(f"{RUN}.*", "The image could not be pulled")
    user.refused("the endpoint tiny-1-endpoint ended as Failed: The image could not be pulled")


def test_down_goes_on_past_a_refusal(user: User) -> None:
    user.spec["train"] = None
    user.spec["deploy"] = {"image": IMAGE, "instance_type": "ml.c5.xlarge", "model": MODEL}
    user.account.faults.fail_endpoint(f"{RUN}.*", "x")
    user.applies()
    user.account.faults.deny("DeleteEndpointConfig")
    code, out, _ = user.types("down", RUN, "--yes", "--poll", "0.1")
    assert code == 1
    assert "left: could not delete the endpoint-config" in out and "left: endpoint-config tiny-1-config (there)" in out
    assert user.entries() == {"model": "gone", "endpoint-config": "made", "endpoint": "gone"}
    user.is_clean_after_down()


def test_quota_is_looked_at_before_anything_is_made(user: User) -> None:
    user.account.faults.limit("ml.c5.xlarge", "training job usage", 0)
    user.refused(
        "Quota 'ml.c5.xlarge for training job usage' is 0 in us-east-1, and the plan needs 1; ask for more at "
    )
    assert not (user.folder / "home").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"bucket": {"name": "nobodys-bucket"}}, "bucket nobodys-bucket: does not exist; set bucket.create to true"),
        ({"data": {"source": f"s3://{BUCKET}/none"}}, f"s3://{BUCKET}/none/: holds no object; set data.source"),
        ({"role": "arn:aws:iam::123456789012:role/nobody"}, "role nobody: does not exist; make it from the policies"),
        ({"role": "arn:aws:iam::999999999999:role/other"}, "role is of account 999999999999, and your credentials are"),
        ({"region": "eu-west-1"}, "us-east-1"),
    ],
)
def test_what_the_account_lacks_is_one_sentence(user: User, change: dict[str, Any], sentence: str) -> None:
    user.spec |= change
    user.refused(sentence)


def test_without_credentials(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    user.refused("there are no AWS credentials; run 'aws configure' or 'aws sso login'.")


def test_nobody_to_say_yes(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    (user.folder / "spec.yaml").write_text(yaml.safe_dump(user.spec))
    code, out, err = user.types("apply", str(user.folder / "spec.yaml"), "--run", RUN)
    assert code == 1 and "nobody is there to say yes; add --yes." in err
    # The plan was shown all the same.
    assert "CreateTrainingJob" in out


def test_a_run_that_broke_off_goes_on(user: User) -> None:
    user.account.faults.deny("CreateTrainingJob")
    user.applies()
    assert user.entries() == {"training-job": "asked"}
    user.account.faults.clear()
    user.account.faults.fail_job(f"{RUN}.*", "AlgorithmError: told to fail")
    code, out, err = user.applies()
    assert "told to fail" in out
    assert "0 were there" not in err
    assert user.entries() == {"training-job": "made"}


@pytest.mark.parametrize("words", [("follow", "none-1"), ("down", "none-1", "--yes"), ("results", "none-1")])
def test_a_run_that_is_not_known(user: User, words: tuple[str, ...]) -> None:
    code, _, err = user.types(*words)
    assert code == 1 and "none-1.json: there is no such manifest; runs of this machine: none yet." in err


def test_a_manifest_that_is_broken(user: User) -> None:
    (user.folder / "home").mkdir()
    (user.folder / "home" / "x-1.json").write_text('{"format": 9}')
    code, _, err = user.types("down", "x-1", "--yes")
    assert code == 1 and "x-1.json: is no run manifest (format 9, wanted 1)" in err


def test_lustre_is_made_named_to_the_job_and_deleted(user: User) -> None:
    ec2 = user.account.session().client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="lustre", Description="x", VpcId=vpc)["GroupId"]
    user.spec["security"] = {"subnets": [subnet], "security_groups": [group]}
    user.spec["file_system"] = {"kind": "PERSISTENT_2"}
    user.account.faults.fail_job(f"{RUN}.*", "AlgorithmError: told to fail")
    user.applies()
    (system,) = user.account.session().client("fsx").describe_file_systems()["FileSystems"]
    job = user.account.session().client("sagemaker").describe_training_job(TrainingJobName=f"{RUN}-train")
    assert job["InputDataConfig"][1]["DataSource"]["FileSystemDataSource"] == {
        "FileSystemId": system["FileSystemId"],
        "FileSystemType": "FSxLustre",
        "DirectoryPath": f"/{system['LustreConfiguration']['MountName']}/data",
        "FileSystemAccessMode": "ro",
    }
    assert user.entries() == {"file-system": "made", "data-repository": "made", "training-job": "made"}
    code, out, _ = user.types("down", RUN, "--yes", "--poll", "0.1")
    assert (code, "nothing is left that runs" in out) == (0, True), out
    assert not [one for one in user.account.everything_left() if one.service == "fsx"]


def test_an_image_is_built_and_deleted(user: User) -> None:
    user.spec |= {"train": None, "data": None, "image": {"role": user.account.role}}
    code, out, err = user.applies("--no-quotas")
    assert code == 0, out + err
    assert user.entries() == {"repository": "made", "build-project": "made", "build": "made"}
    code, out, _ = user.types("down", RUN, "--yes", "--poll", "0.1")
    assert (code, "nothing is left that runs" in out) == (0, True), out
    assert not [one for one in user.account.everything_left() if one.service in ("ecr", "codebuild")]
