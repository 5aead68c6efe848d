"""The /opt/ml of each host of a training job: made before it, gathered after it.

Sources: AWS docs, "Amazon SageMaker AI Training Storage Paths" and "How Amazon SageMaker AI Provides Training
Information".
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sm_launch.errors import LaunchError
from sm_launch.local.channels import fill_channel
from sm_launch.local.container import LOOPBACK, addresses, hyperparameters_here, place_of, write_config
from sm_launch.local.isolation import Isolation
from sm_launch.local.store import Store
from sm_launch.s3_uri import join

CHECKPOINTS, TENSORBOARD = "/opt/ml/checkpoints", "/opt/ml/output/tensorboard"
HOMOGENEOUS = "homogeneousCluster"


class TrainingTree:
    """The trees of one job.

    Args:
        request: of CreateTrainingJob.
        store: where its URIs lead.
        work_dir: the job's folder.
        isolation: of the job.

    Raises:
        LaunchError: more hosts than can be had here, or a checkpoint folder outside /opt/ml.
    """

    def __init__(self, request: Mapping[str, Any], store: Store, work_dir: Path, isolation: Isolation) -> None:
        self.request = request
        self.store = store
        self.work_dir = work_dir
        self.isolation = isolation
        self.groups = _groups(request["ResourceConfig"])
        self.addresses = addresses(sum(count for _, _, count in self.groups), isolation)
        self.checkpoints = request.get("CheckpointConfig", {})
        self.tensorboard = request.get("TensorBoardOutputConfig", {})
        for path in (self._checkpoint_path, self.tensorboard.get("LocalPath", TENSORBOARD)):
            place_of(path, work_dir, "LocalPath")

    @property
    def _checkpoint_path(self) -> str:
        return self.checkpoints.get("LocalPath", CHECKPOINTS)

    def node(self, index: int) -> Path:
        """The folder of the host of that place, from 0."""
        return self.work_dir / f"algo-{index + 1}"

    def make(self) -> list[Path]:
        """Make every host's tree anew, as a container of a new attempt finds it.

        Returns:
            The nodes' folders, algo-1 first.

        Raises:
            LaunchError: a channel cannot be filled.
        """
        count = len(self.addresses)
        for index, host in enumerate(self.addresses):
            shutil.rmtree(self.node(index), ignore_errors=True)
            tree = self.node(index) / "ml"
            for folder in ("model", "output/data", "input/data", "input/config"):
                (tree / folder).mkdir(parents=True)
            for channel in self.request.get("InputDataConfig", ()):
                fill_channel(channel, self.store, tree / "input" / "data" / channel["ChannelName"], index, count)
            kept = place_of(self._checkpoint_path, tree, "LocalPath")
            kept.mkdir(parents=True, exist_ok=True)
            if self.checkpoints:
                prefix = join(self.checkpoints["S3Uri"]) + "/"
                for uri in self.store.list(prefix):
                    self.store.download(uri, kept / uri[len(prefix) :])
            write_config(tree / "input" / "config", self._config(host, tree))
        return [self.node(index) for index in range(count)]

    def _config(self, host: str, tree: Path) -> dict[str, Any]:
        hosts = list(self.addresses)
        groups, taken = [], 0
        for name, instance_type, count in self.groups:
            members = hosts[taken : taken + count]
            taken += count
            groups.append({"instance_group_name": name, "instance_type": instance_type, "hosts": members})
        mine = next(group for group in groups if host in group["hosts"])
        resources = {
            "current_host": host,
            "current_instance_type": mine["instance_type"],
            "current_group_name": mine["instance_group_name"],
            "hosts": hosts,
            "instance_groups": groups,
            "network_interface_name": LOOPBACK,
        }
        channels = {
            channel["ChannelName"]: {
                "TrainingInputMode": channel.get(
                    "InputMode", self.request["AlgorithmSpecification"]["TrainingInputMode"]
                ),
                "S3DistributionType": channel["DataSource"]["S3DataSource"].get(
                    "S3DataDistributionType", "FullyReplicated"
                ),
                "RecordWrapperType": channel.get("RecordWrapperType", "None"),
                **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
            }
            for channel in self.request.get("InputDataConfig", ())
        }
        values = hyperparameters_here(self.request.get("HyperParameters", {}), tree, self.isolation)
        return {
            "resourceconfig.json": resources, "inputdataconfig.json": channels, "hyperparameters.json": values
        }  # fmt: skip

    def folders(self, name: str) -> list[Path]:
        """A folder of /opt/ml of every host."""
        return [self.node(index) / "ml" / name for index in range(len(self.addresses))]

    def upload_checkpoints(self) -> None:
        """Sync every host's checkpoints to CheckpointConfig's URI; of one name, the first host's file stays."""
        if not self.checkpoints:
            return
        for index in reversed(range(len(self.addresses))):
            kept = place_of(self._checkpoint_path, self.node(index) / "ml", "LocalPath")
            self.store.upload(kept, self.checkpoints["S3Uri"])

    def upload_tensorboard(self) -> None:
        """Upload event files to TensorBoardOutputConfig's URI; of one name, the first host's file stays."""
        if not self.tensorboard:
            return
        target = join(self.tensorboard["S3OutputPath"], self.request["TrainingJobName"], "tensorboard-output")
        for index in reversed(range(len(self.addresses))):
            tree = self.node(index) / "ml"
            self.store.upload(place_of(self.tensorboard.get("LocalPath", TENSORBOARD), tree, "LocalPath"), target)

    def failure(self, node: str) -> str:
        """What a node wrote to /opt/ml/output/failure; empty if nothing."""
        file = self.work_dir / node / "ml" / "output" / "failure"
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def _groups(config: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Name, instance type and count of each group of hosts.

    Raises:
        LaunchError: ResourceConfig has neither an instance type nor groups.
    """
    if "InstanceGroups" in config:
        return [(g["InstanceGroupName"], g["InstanceType"], g["InstanceCount"]) for g in config["InstanceGroups"]]
    if "InstanceType" not in config:
        raise LaunchError("ResourceConfig names no InstanceType; a local run takes one type and a count, or groups.")
    return [(HOMOGENEOUS, config["InstanceType"], config.get("InstanceCount", 1))]
