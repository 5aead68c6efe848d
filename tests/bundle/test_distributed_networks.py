"""Networks with deep supervision in two processes, with whole and with sharded weights, learn what they do in one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from monai.networks.nets import SegResNetDS
from scripts import fsdp
from scripts.distributed import wrap
from scripts.engine import RegionBatch, Trainer
from scripts.losses import DiceBCELoss
from scripts.networks import DynUNetDS, UNetDS
from scripts.step import place
from torch import multiprocessing

CPU = torch.device("cpu")
NETWORKS: dict[str, Callable[[], torch.nn.Module]] = {
    "UNetDS": lambda: UNetDS(
        spatial_dims=3, in_channels=4, out_channels=3, channels=(4, 8, 16, 32), strides=(2, 2, 2), deep_supervision=2
    ),
    "DynUNetDS": lambda: DynUNetDS(
        spatial_dims=3, in_channels=4, out_channels=3, filters=[4, 8, 16, 32], kernel_size=[3] * 4,
        strides=[1, 2, 2, 2], upsample_kernel_size=[2] * 3, norm_name="instance", deep_supervision=2,
    ),
    "SegResNetDS": lambda: SegResNetDS(
        init_filters=4, in_channels=4, out_channels=3, blocks_down=(1, 1, 1), norm="instance", dsdepth=2
    ),
}  # fmt: skip


def network(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name]()


def train(network: torch.nn.Module, first: int, size: int) -> dict[str, torch.Tensor]:
    """Three steps on ``size`` of two fixed patches; return the weights."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(3, 2, 4, 16, 16, 16, generator=generator)
    labels = torch.randint(0, 4, (3, 2, 1, 16, 16, 16), generator=generator, dtype=torch.uint8)
    chosen = slice(first, first + size)
    Trainer(
        device=CPU, max_epochs=1, network=network, prepare_batch=RegionBatch("msd"), loss_function=DiceBCELoss(),
        train_data_loader=[
            {"image": image[chosen], "label": label[chosen]} for image, label in zip(images, labels, strict=True)
        ],
        optimizer=torch.optim.SGD(network.parameters(), lr=0.05),
    ).run()  # fmt: skip
    return fsdp.full_state(getattr(network, "module", network))


def one_of_two(rank: int, folder: str) -> None:
    """A process: one of the two patches."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = {}
    for name in NETWORKS:
        found[name, "whole"] = train(wrap(network(name), CPU), rank, 1)
        found[name, "sharded"] = train(fsdp.sharded_copy(network(name), CPU), rank, 1)
    if rank == 0:
        torch.save(found, Path(folder) / "found.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, torch.Tensor]]:
    """Weights that two processes came to, each network's with whole and with sharded weights."""
    folder = tmp_path_factory.mktemp("found")
    multiprocessing.spawn(one_of_two, (str(folder),), nprocs=2)
    return torch.load(folder / "found.pt", weights_only=True)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", ["whole", "sharded"])
def test_two_processes_equal_one(name: str, kind: str, found: dict) -> None:
    alone = train(place(network(name), CPU), 0, 2)
    together = found[name, kind]
    assert list(together) == list(alone)
    start = network(name).state_dict()
    for entry, value in alone.items():
        torch.testing.assert_close(together[entry], value, atol=1e-4, rtol=1e-3)
    heads = [entry for entry in alone if "head" in entry and entry.endswith("weight")]
    assert heads and not any(torch.equal(alone[entry], start[entry]) for entry in heads)
