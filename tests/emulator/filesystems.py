"""FSx for Lustre: file systems and their data repository associations, with the life cycle that clients wait for."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from emulator.errors import AwsError
from emulator.world import ACCOUNT, World, now, operation

SYSTEMS, ASSOCIATIONS = "file-system", "association"
CREATING, AVAILABLE, DELETING, FAILED = "CREATING", "AVAILABLE", "DELETING", "FAILED"
# GiB: the smallest, the next, then steps of it (API reference, CreateFileSystem, StorageCapacity).
SMALLEST, STEP = 1200, 2400
PERSISTENT_2 = "PERSISTENT_2"


@dataclass
class Thing:
    """A file system or an association; ``name`` is its id."""

    name: str
    arn: str
    request: Mapping[str, Any]
    mount: str = ""
    lifecycle: str = CREATING
    failure: str | None = None
    created: datetime = field(default_factory=now)


@operation("fsx", "CreateFileSystem")
def create_system(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Lustre alone; a request with the token of an earlier one makes no second file system."""
    token = request.get("ClientRequestToken")
    for known in world.tables[SYSTEMS].values():
        if token and known.request.get("ClientRequestToken") == token:
            return {"FileSystem": _system(known)}
    _check_lustre(request)
    name = f"fs-{secrets.token_hex(8)}1"
    # PERSISTENT_2 and SCRATCH_2 have a name of eight characters; the old types are all called fsx.
    thing = Thing(name, world.arn("file-system", name, "fsx"), request, secrets.token_hex(4))
    world.tables[SYSTEMS][name] = thing
    world.begin(lambda: _become_available(world, thing))
    return {"FileSystem": _system(thing)}


def _check_lustre(request: Mapping[str, Any]) -> None:
    capacity = request.get("StorageCapacity")
    lustre = request.get("LustreConfiguration", {})
    if request["FileSystemType"] != "LUSTRE":
        raise AwsError("BadRequest", "The emulator has file systems of type LUSTRE only.")
    if capacity is None or (capacity != SMALLEST and capacity % STEP):
        raise AwsError("BadRequest", f"Storage capacity must be {SMALLEST} GiB or a multiple of {STEP} GiB.")
    if len(request["SubnetIds"]) != 1:
        raise AwsError("BadRequest", "Exactly one subnet must be specified for a Lustre file system.")
    persistent = lustre.get("DeploymentType") == PERSISTENT_2
    if persistent and "ImportPath" in lustre:
        raise AwsError(
            "BadRequest", "ImportPath is not supported for file systems with the PERSISTENT_2 deployment type."
        )
    if persistent and "PerUnitStorageThroughput" not in lustre:
        raise AwsError("BadRequest", "PerUnitStorageThroughput is required for the PERSISTENT_2 deployment type.")


def _become_available(world: World, thing: Thing) -> None:
    world.pause()
    thing.failure = world.faults.job_failure(thing.name)
    if thing.lifecycle == CREATING:
        thing.lifecycle = FAILED if thing.failure else AVAILABLE


def _system(thing: Thing) -> dict[str, Any]:
    asked = thing.request
    lustre = {key: value for key, value in asked.get("LustreConfiguration", {}).items() if key not in _IMPORTS}
    return {
        "OwnerId": ACCOUNT,
        "CreationTime": thing.created,
        "FileSystemId": thing.name,
        "FileSystemType": asked["FileSystemType"],
        "Lifecycle": thing.lifecycle,
        "FailureDetails": {"Message": thing.failure} if thing.failure else None,
        "StorageCapacity": asked["StorageCapacity"],
        "StorageType": asked.get("StorageType", "SSD"),
        "SubnetIds": asked["SubnetIds"],
        "DNSName": f"{thing.name}.fsx.{thing.arn.split(':')[3]}.amazonaws.com",
        "KmsKeyId": asked.get("KmsKeyId"),
        "ResourceARN": thing.arn,
        "Tags": asked.get("Tags"),
        "LustreConfiguration": {**lustre, "MountName": thing.mount},
    }


# The request has them beside the other members, the answer in DataRepositoryConfiguration.
_IMPORTS = ("ImportPath", "ExportPath", "ImportedFileChunkSize", "AutoImportPolicy")


@operation("fsx", "DescribeFileSystems")
def describe_systems(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """All, or those asked for."""
    wanted = request.get("FileSystemIds") or list(world.tables[SYSTEMS])
    return {"FileSystems": [_system(_find(world, SYSTEMS, name)) for name in wanted]}


@operation("fsx", "DeleteFileSystem")
def delete_system(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Its associations go with it."""
    thing = _find(world, SYSTEMS, request["FileSystemId"])
    if thing.lifecycle == CREATING:
        raise AwsError("BadRequest", f"File system '{thing.name}' is in CREATING state and cannot be deleted.")
    for association in list(world.tables[ASSOCIATIONS].values()):
        if association.request["FileSystemId"] == thing.name:
            _delete(world, ASSOCIATIONS, association)
    _delete(world, SYSTEMS, thing)
    return {"FileSystemId": thing.name, "Lifecycle": DELETING}


@operation("fsx", "CreateDataRepositoryAssociation")
def create_association(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Ties a folder of the file system to a prefix of S3."""
    system = _find(world, SYSTEMS, request["FileSystemId"])
    lustre = system.request.get("LustreConfiguration", {})
    if system.lifecycle != AVAILABLE:
        raise AwsError("BadRequest", f"File system '{system.name}' is in {system.lifecycle} state.")
    if "ImportPath" in lustre or lustre.get("DeploymentType", "SCRATCH_1") == "SCRATCH_1":
        raise AwsError("BadRequest", "Data repository associations are not supported on this file system.")
    name = f"dra-{secrets.token_hex(8)}1"
    thing = Thing(name, world.arn("association", f"{system.name}/{name}", "fsx"), request)
    world.tables[ASSOCIATIONS][name] = thing
    world.begin(lambda: _become_available(world, thing))
    return {"Association": _association(thing)}


def _association(thing: Thing) -> dict[str, Any]:
    told = ("FileSystemId", "FileSystemPath", "DataRepositoryPath", "BatchImportMetaDataOnCreate", "S3", "Tags")
    return {
        "AssociationId": thing.name,
        "ResourceARN": thing.arn,
        "Lifecycle": thing.lifecycle,
        "CreationTime": thing.created,
        **{key: thing.request.get(key) for key in told},
    }


@operation("fsx", "DescribeDataRepositoryAssociations")
def describe_associations(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """All, those asked for, or those of a file system."""
    wanted = request.get("AssociationIds") or list(world.tables[ASSOCIATIONS])
    found = [_association(_find(world, ASSOCIATIONS, name)) for name in wanted]
    for chosen in request.get("Filters", ()):
        if chosen.get("Name") == "file-system-id":
            found = [each for each in found if each["FileSystemId"] in chosen["Values"]]
    return {"Associations": found}


@operation("fsx", "DeleteDataRepositoryAssociation")
def delete_association(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """What was imported stays in the file system."""
    thing = _find(world, ASSOCIATIONS, request["AssociationId"])
    _delete(world, ASSOCIATIONS, thing)
    return {"AssociationId": thing.name, "Lifecycle": DELETING, "DeleteDataInFileSystem": False}


def _delete(world: World, table: str, thing: Thing) -> None:
    thing.lifecycle = DELETING

    def vanish() -> None:
        world.pause()
        world.tables[table].pop(thing.name, None)

    world.begin(vanish)


def _find(world: World, table: str, name: str) -> Thing:
    thing = world.tables[table].get(name)
    if thing is None and table == SYSTEMS:
        raise AwsError("FileSystemNotFound", f"File system '{name}' does not exist.")
    if thing is None:
        raise AwsError("DataRepositoryAssociationNotFound", f"Data repository association '{name}' does not exist.")
    return thing


def through_s3(world: World, request: Mapping[str, Any]) -> dict[str, Any]:
    """A job's request whose Lustre channels are read from the prefixes that the file system imports.

    Raises:
        AwsError: no such file system, or nothing is imported at the channel's folder.
    """
    channels = []
    for channel in request.get("InputDataConfig", ()):
        source = channel["DataSource"].get("FileSystemDataSource")
        if source is not None:
            uri = _imported(world, source)
            channel = {**channel, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}
        channels.append(channel)
    return {**request, **({"InputDataConfig": channels} if channels else {})}


def _imported(world: World, source: Mapping[str, Any]) -> str:
    system = _find(world, SYSTEMS, source["FileSystemId"])
    mount, _, folder = source["DirectoryPath"].strip("/").partition("/")
    if mount != system.mount:
        raise AwsError("BadRequest", f"DirectoryPath must begin with /{system.mount}.")
    for thing in world.tables[ASSOCIATIONS].values():
        path = thing.request.get("FileSystemPath", "/").strip("/")
        if thing.request["FileSystemId"] == system.name and f"{folder}/".startswith(f"{path}/" if path else ""):
            rest = folder[len(path) :].strip("/")
            return "/".join(part for part in (thing.request["DataRepositoryPath"].rstrip("/"), rest) if part)
    raise AwsError("BadRequest", f"{system.name} imports nothing at /{folder}.")
