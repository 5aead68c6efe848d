"""Rules of FSx for Lustre (API reference, CreateFileSystem and CreateFileSystemLustreConfiguration)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sm_launch.steps import Plan, Step
from sm_launch.views import (
    CREATE_ASSOCIATION,
    CREATE_FILE_SYSTEM,
    CREATE_PROCESSING,
    channels,
    of,
    trainings,
)

SCRATCH, PERSISTENT = "SCRATCH_2", "PERSISTENT_2"
THROUGHPUTS = (125, 250, 500, 1000)
_FIRST_SIZES, _SIZE_STEP = (1200, 2400), 2400
# A mount name is eight letters and digits, fsx on the oldest type, or still to come: {file-system:NAME.MountName}.
_DIRECTORY = re.compile(r"/(?:[a-z0-9]{8}|fsx|\{[a-z-]+:[^{}]+\})(?:/.*)?")


def file_system_size(plan: Plan) -> Iterator[str]:
    """A Lustre file system of SSDs has 1200, 2400, or a multiple of 2400 GiB."""
    for step, _ in _lustre(plan):
        size = step.request.get("StorageCapacity")
        if not isinstance(size, int) or (size not in _FIRST_SIZES and (size <= 0 or size % _SIZE_STEP)):
            yield (
                f"{step.name}: StorageCapacity is {size}, and FSx for Lustre takes 1200, 2400 or a multiple of 2400 "
                f"GiB; take {_next_size(size)}."
            )


def file_system_throughput(plan: Plan) -> Iterator[str]:
    """PERSISTENT_2 has 125, 250, 500 or 1000 MB/s per TiB; SCRATCH_2 takes no throughput."""
    for step, lustre in _lustre(plan):
        given, kind = lustre.get("PerUnitStorageThroughput"), lustre.get("DeploymentType")
        if kind == PERSISTENT and given not in THROUGHPUTS:
            yield (
                f"{step.name}: LustreConfiguration.PerUnitStorageThroughput is {given or 'absent'}, and {PERSISTENT} "
                f"takes {', '.join(map(str, THROUGHPUTS))} MB/s per TiB; choose one."
            )
        elif kind == SCRATCH and given is not None:
            yield (
                f"{step.name}: LustreConfiguration.PerUnitStorageThroughput is {given}, and {SCRATCH} has a fixed "
                f"throughput of 200 MB/s per TiB; remove it."
            )


def file_system_import(plan: Plan) -> Iterator[str]:
    """A file system gets its files by ImportPath (SCRATCH_2) or by an association (PERSISTENT_2), never by both."""
    associations = list(of(plan, CREATE_ASSOCIATION))
    for step, lustre in _lustre(plan):
        path, kind = lustre.get("ImportPath"), lustre.get("DeploymentType")
        if path and kind == PERSISTENT:
            yield (
                f"{step.name}: LustreConfiguration.ImportPath is given for {PERSISTENT}, which takes a data repository "
                f"association instead; remove it and associate {path}."
            )
        elif path and any(_belongs(plan, association, step) for association in associations):
            yield (
                f"{step.name}: LustreConfiguration.ImportPath is given and the plan makes a data repository "
                f"association as well, and FSx takes one or the other; remove one."
            )
        if kind not in (SCRATCH, PERSISTENT):
            yield (
                f"{step.name}: LustreConfiguration.DeploymentType is {kind or 'absent'}, and jobs are served by "
                f"{SCRATCH} or {PERSISTENT}; choose one."
            )


def file_system_subnet(plan: Plan) -> Iterator[str]:
    """A Lustre file system lies in one subnet."""
    for step, _ in _lustre(plan):
        subnets = step.request.get("SubnetIds", ())
        if len(subnets) != 1:
            yield f"{step.name}: SubnetIds has {len(subnets)} entries, and FSx for Lustre takes one; name the jobs'."


def file_system_directory(plan: Plan) -> Iterator[str]:
    """A channel on FSx names its folder as /MOUNT_NAME/..., not as a path on some machine."""
    for name, place, channel in _file_system_channels(plan):
        path = channel.get("DirectoryPath", "")
        if not _DIRECTORY.fullmatch(path):
            yield (
                f"{name}: {place}.DirectoryPath is {path!r}, and SageMaker takes /MOUNT_NAME/FOLDER with the file "
                f"system's own mount name; see MountName in its description."
            )


def file_system_access(plan: Plan) -> Iterator[str]:
    """A training that mounts a file system runs in the VPC of that file system."""
    for training in trainings(plan):
        mounts = any("FileSystemDataSource" in channel.get("DataSource", {}) for _, channel in channels(training))
        if mounts and not training.request.get("VpcConfig"):
            yield (
                f"{training.step.name}: {training.path}VpcConfig is absent, and a file system is reached only from "
                f"inside its VPC; give the subnet and the security group."
            )


def file_system_processing(plan: Plan) -> Iterator[str]:
    """A processing job reads S3 and cannot mount a file system (API reference, ProcessingInput)."""
    for step in of(plan, CREATE_PROCESSING):
        for index, given in enumerate(step.request.get("ProcessingInputs", ())):
            if "FileSystemDataSource" in given:
                yield (
                    f"{step.name}: ProcessingInputs[{index}] is a file system, and processing jobs read S3 only; give "
                    f"the S3 prefix that it was loaded from."
                )


def _lustre(plan: Plan) -> Iterator[tuple[Step, dict[str, Any]]]:
    for step in of(plan, CREATE_FILE_SYSTEM):
        if step.request.get("FileSystemType") == "LUSTRE":
            yield step, step.request.get("LustreConfiguration", {})


def _next_size(size: Any) -> int:
    if not isinstance(size, int):
        return _FIRST_SIZES[0]
    return next((first for first in _FIRST_SIZES if size <= first), -(-size // _SIZE_STEP) * _SIZE_STEP)


def _belongs(plan: Plan, association: Step, step: Step) -> bool:
    """Whether an association is for this file system; its id isn't known yet, so one of a kind is taken to be."""
    only = len(list(of(plan, CREATE_FILE_SYSTEM))) == 1
    return only or step.name in str(association.request.get("FileSystemId", ""))


def _file_system_channels(plan: Plan) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for training in trainings(plan):
        for place, channel in channels(training):
            source = channel.get("DataSource", {}).get("FileSystemDataSource")
            if source is not None:
                yield training.step.name, f"{place}.DataSource.FileSystemDataSource", source
