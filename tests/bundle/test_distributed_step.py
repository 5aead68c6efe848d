"""The training step in two processes: gradients are exchanged once a group of batches, and averages agree."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from monai.losses import DiceLoss
from scripts.checkpoints import unwrapped
from scripts.distributed import wrap
from scripts.ema import UpdateAverage, scored_network
from scripts.engine import RegionBatch, Trainer
from scripts.step import place
from torch import multiprocessing

CPU = torch.device("cpu")


def tiny_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv3d(4, 4, 3, padding=1), torch.nn.PReLU(), torch.nn.Conv3d(4, 3, 1))


def train(network: torch.nn.Module, first: int, count: int, steps: int) -> dict[str, torch.Tensor]:
    """Train on ``count`` of four fixed batches in groups of ``steps``; return the average of the weights."""
    generator = torch.Generator().manual_seed(1)
    data = [
        {
            "image": torch.randn(1, 4, 6, 6, 6, generator=generator),
            "label": torch.randint(0, 4, (1, 1, 6, 6, 6), generator=generator, dtype=torch.uint8),
        }
        for _ in range(4)
    ]
    average = scored_network(network, 0.5)
    Trainer(
        device=CPU, max_epochs=2, train_data_loader=data[first : first + count], network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.5), prepare_batch=RegionBatch("msd"),
        loss_function=DiceLoss(sigmoid=True), accumulation_steps=steps,
        train_handlers=[UpdateAverage(network, average)],
    ).run()  # fmt: skip
    return unwrapped(average).state_dict()


def one_of_two(rank: int, folder: str) -> None:
    """A process: two of the four batches."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save(train(wrap(tiny_network(), CPU), 2 * rank, 2, 2), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_that_accumulate_equal_one(tmp_path: Path) -> None:
    multiprocessing.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    alone = train(place(tiny_network(), CPU), 0, 4, 4)
    for rank in (0, 1):
        together = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert list(together) == list(alone)
        for name, value in alone.items():
            torch.testing.assert_close(together[name], value)
