"""What an ml.* instance type is: processors, memory, GPUs, local disks, networks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from sm_launch.errors import LaunchError
from sm_launch.table import nearest, table


@dataclass(frozen=True)
class Instance:
    """One instance type.

    Attributes:
        name: ml.g5.2xlarge.
        vcpu: virtual processors.
        memory_gib: main memory in GiB.
        gpus: number of GPUs.
        gpu: their kind; empty without one.
        gpu_memory_gib: memory of one GPU in GiB.
        nvme_gb: local NVMe disks in GB, all together; 0 where the volume is EBS.
        efa: whether it has the Elastic Fabric Adapter, the network that NCCL needs between machines.
        smddp: whether SageMaker's data parallel library runs on it.
    """

    name: str
    vcpu: int
    memory_gib: int
    gpus: int = 0
    gpu: str = ""
    gpu_memory_gib: int = 0
    nvme_gb: int = 0
    efa: bool = False
    smddp: bool = False


@cache
def instance(name: str) -> Instance:
    """The instance type ``name``.

    Raises:
        LaunchError: the table doesn't hold it.
    """
    types = table("instances")["types"]
    if name not in types:
        raise LaunchError(
            f"Instance type {name!r} is unknown to the table of {table('instances')['as_of']}; "
            f"did you mean {nearest(name, types)}?"
        )
    return Instance(name=name, **types[name])


def known(name: str) -> bool:
    """Whether the table holds ``name``; AWS offers more types than the families listed there."""
    return name in table("instances")["types"]


def takes_volume_key(name: str) -> bool:
    """Whether ``VolumeKmsKeyId`` may be given for this type; of an unknown type it is assumed.

    A type with local NVMe disks refuses the key: its disks are encrypted by hardware of the instance (API reference,
    ResourceConfig.VolumeKmsKeyId).
    """
    return not (known(name) and instance(name).nvme_gb)


def smddp_types() -> tuple[str, ...]:
    """Types that SageMaker's data parallel library runs on (docs, "Supported frameworks, AWS Regions, and instances
    types")."""
    return tuple(name for name, row in table("instances")["types"].items() if row.get("smddp"))
