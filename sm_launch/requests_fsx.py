"""FSx for Lustre in front of the data set: CreateFileSystem, and the link to the bucket that its type takes."""

from __future__ import annotations

from typing import Any

from sm_launch.errors import LaunchError
from sm_launch.frame import Frame
from sm_launch.spec import FileSystem
from sm_launch.steps import Step

FILE_SYSTEM = "file-system"
# Stand for what AWS answers to the step that makes it; ``apply`` fills them in.
FILE_SYSTEM_ID = "{file-system:id}"
MOUNT_NAME = "{file-system:mount}"
MOUNT_POINT = "/data"
# Recommended for all new file systems; without it scratch ones are made with 2.10 (API reference, CreateFileSystem).
LUSTRE_VERSION = "2.15"


def file_system_steps(frame: Frame, wanted: FileSystem) -> list[Step]:
    """Make the file system, and link it.

    An import path is for SCRATCH_2 alone: PERSISTENT_2 refuses it and takes a data repository association (FSx API
    Reference, CreateFileSystemLustreConfiguration).

    Raises:
        LaunchError: the spec has no data or no subnet.
    """
    data = frame.data_uri()
    if data is None:
        raise LaunchError("file_system: there is no data to put it in front of; add data.source to the spec.")
    if not (frame.spec.security.subnets and frame.spec.security.security_groups):
        raise LaunchError(
            "file_system: FSx for Lustre lies in a VPC; add security.subnets and security.security_groups."
        )
    lustre: dict[str, Any] = {"DeploymentType": wanted.kind}
    if wanted.kind == "SCRATCH_2":
        lustre |= {"ImportPath": data, "AutoImportPolicy": "NEW_CHANGED"}
    else:
        lustre["PerUnitStorageThroughput"] = wanted.throughput
    request: dict[str, Any] = {
        "ClientRequestToken": frame.run,
        "FileSystemType": "LUSTRE",
        "FileSystemTypeVersion": LUSTRE_VERSION,
        "StorageCapacity": wanted.size_gib,
        "StorageType": "SSD",
        # The instances must be in the file system's own subnet.
        "SubnetIds": [frame.spec.security.subnets[0]],
        "SecurityGroupIds": list(frame.spec.security.security_groups),
        "Tags": frame.tags(),
        "LustreConfiguration": lustre,
    }
    if frame.spec.security.kms_key and wanted.kind != "SCRATCH_2":
        request["KmsKeyId"] = frame.spec.security.kms_key
    name = f"{frame.run}-fsx"
    steps = [Step("fsx", "CreateFileSystem", request, FILE_SYSTEM, name, True, wanted.expected_hours)]
    if wanted.kind != "SCRATCH_2":
        link = {
            "FileSystemId": FILE_SYSTEM_ID,
            "FileSystemPath": MOUNT_POINT,
            "DataRepositoryPath": data,
            "BatchImportMetaDataOnCreate": True,
            "ClientRequestToken": frame.run,
            "Tags": frame.tags(),
        }
        steps.append(Step("fsx", "CreateDataRepositoryAssociation", link, "data-repository", name, True))
    return steps
