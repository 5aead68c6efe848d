"""``down`` of things that AWS is still making: it refuses to delete those, and they cost money once they are made."""

from __future__ import annotations

from emulator import Account
from programs import BUCKET, IMAGE, INSTANCE

from sm_launch.down import down, left
from sm_launch.manifest import ASKED, MADE, Entry, Manifest


def manifest_of(*entries: Entry) -> Manifest:
    """A manifest in memory."""
    return Manifest("r", "us-east-1", BUCKET, "runs/r", "standard", entries=list(entries))


def test_an_endpoint_in_creation(account: Account) -> None:
    client = account.session().client("sagemaker")
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/model/model.tar.gz"}
    client.create_model(ModelName="m", ExecutionRoleArn=account.role, PrimaryContainer=container)
    variant = {"VariantName": "v", "ModelName": "m", "InstanceType": INSTANCE, "InitialInstanceCount": 1}
    client.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    account.faults.slow_endpoint("e", 1.0)
    client.create_endpoint(EndpointName="e", EndpointConfigName="c")
    made = manifest_of(Entry("model", "m", MADE), Entry("endpoint-config", "c", MADE), Entry("endpoint", "e", MADE))
    assert down(made, account.session(), poll_seconds=0.1) == []
    assert left(made, account.session()) == []
    assert not [each for each in account.everything_left() if each.service == "sagemaker"]


def test_a_file_system_in_creation(account: Account) -> None:
    account.world.pace = 0.5
    request = {"FileSystemType": "LUSTRE", "StorageCapacity": 1200, "SubnetIds": ["subnet-12345678"]}
    lustre = {"DeploymentType": "SCRATCH_2"}
    made = account.session().client("fsx").create_file_system(**request, LustreConfiguration=lustre)["FileSystem"]
    entry = Entry("file-system", "fs", MADE, {"id": made["FileSystemId"]})
    assert down(manifest_of(entry), account.session(), poll_seconds=0.1) == []
    assert not [each for each in account.everything_left() if each.service == "fsx"]


def test_patience_ends(account: Account) -> None:
    account.world.pace = 2.0
    request = {"FileSystemType": "LUSTRE", "StorageCapacity": 1200, "SubnetIds": ["subnet-12345678"]}
    made = account.session().client("fsx").create_file_system(**request, LustreConfiguration={})["FileSystem"]
    entry = Entry("file-system", "fs", MADE, {"id": made["FileSystemId"]})
    (problem,) = down(manifest_of(entry), account.session(), poll_seconds=0.05, patience_seconds=0.2)
    assert "is in CREATING state and cannot be deleted" in problem


def test_a_file_system_of_which_no_answer_came(account: Account) -> None:
    request = {
        "FileSystemType": "LUSTRE", "StorageCapacity": 1200, "SubnetIds": ["subnet-12345678"],
        "LustreConfiguration": {"DeploymentType": "SCRATCH_2"},
    }  # fmt: skip
    fsx = account.session().client("fsx")
    fsx.create_file_system(**request, Tags=[{"Key": "sm-launch:run", "Value": "other-1"}])
    fsx.create_file_system(**request, Tags=[{"Key": "sm-launch:run", "Value": "demo-1"}])
    manifest = manifest_of(Entry("file-system", "demo-1-fsx", ASKED, {"run": "demo-1"}))
    assert down(manifest, account.session(), poll_seconds=0.1) == []
    (theirs,) = fsx.describe_file_systems()["FileSystems"]
    assert theirs["Tags"] == [{"Key": "sm-launch:run", "Value": "other-1"}]
