"""The networks that the configs define."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

CONFIGS = Path(__file__).resolve().parents[2] / "bundle" / "configs"


def network_of(*overrides: str) -> torch.nn.Module:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / name) for name in ("train.json", *overrides)])
    return parser.get_parsed_content("network_def")


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("override", "count"),
    [
        (None, 4_810_074),
        ("network/segresnet.json", 4_702_227),
        ("network/unet_large.json", 31_649_035),
        ("network/dynunet.json", 31_184_355),
        ("network/swinunetr.json", 62_191_941),
    ],
)
def test_size_and_shape(override: str | None, count: int) -> None:
    network = network_of(*([override] if override else [])).eval()
    assert parameters(network) == count
    # Five halvings must leave more than one voxel to normalise over.
    side = 64 if override in ("network/swinunetr.json", "network/dynunet.json") else 32
    with torch.no_grad():
        assert network(torch.rand(1, 4, side, side, side)).shape == (1, 3, side, side, side)


def test_whole_tumour_alone_has_one_output() -> None:
    network = network_of("recipe/binary.json").eval()
    assert network(torch.rand(1, 4, 32, 32, 32)).shape == (1, 1, 32, 32, 32)
