"""The networks that the configs define."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export
from monai.networks.nets import DynUNet, UNet
from scripts.deep_supervision import resolutions
from scripts.errors import InputError
from scripts.networks import DynUNetDS, UNetDS
from tiny import TINY
from workflow import BUNDLE, run

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
        (None, 1_981_771),
        ("network/segresnet.json", 4_702_227),
        ("network/unet_large.json", 31_649_035),
        ("network/unet_residual.json", 4_810_074),
        ("network/unet_ds.json", 1_981_921),
        ("network/segresnet_ds.json", 87_167_276),
        # nnU-Net's PlainConvUNet of this plan has 31_198_991: 4_640 are biases that a norm takes out again, 963 the
        # lowest head, which its loss leaves out.
        ("network/dynunet.json", 31_193_388),
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


UNET = {"spatial_dims": 3, "in_channels": 4, "out_channels": 3, "channels": (4, 8, 16, 32), "strides": (2, 2, 2)}
DYNUNET = {
    "spatial_dims": 3, "in_channels": 4, "out_channels": 3, "filters": [4, 8, 16, 32], "kernel_size": [3] * 4,
    "strides": [1, 2, 2, 2], "upsample_kernel_size": [2] * 3, "norm_name": "instance",
}  # fmt: skip


def image(side: int = 32) -> torch.Tensor:
    return torch.rand(1, 4, side, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("num_res_units", [0, 2])
def test_unet_takes_the_weights_of_monais_and_computes_the_same(num_res_units: int) -> None:
    plain, deep = (
        network(**UNET, num_res_units=num_res_units, **more)
        for network, more in ((UNet, {}), (UNetDS, {"deep_supervision": 2}))
    )
    missing, unknown = deep.load_state_dict(plain.state_dict(), strict=False)
    assert {name.split(".")[0] for name in missing} == {"heads"} and not unknown
    outputs = deep(image())
    assert [tuple(output.shape[1:]) for output in outputs] == [(3, side, side, side) for side in (32, 16, 8)]
    assert torch.equal(outputs[0], plain(image()))
    assert torch.equal(deep.eval()(image()), plain.eval()(image()))


def test_dynunet_computes_what_monais_does_at_each_heads_own_resolution() -> None:
    stacked, deep = DynUNet(**DYNUNET, deep_supervision=True, deep_supr_num=2), DynUNetDS(**DYNUNET, deep_supervision=2)
    missing, unknown = deep.load_state_dict(stacked.state_dict(), strict=False)
    # MONAI's has each weight a second time, by way of its nested layers.
    assert not missing and {name.split(".")[0] for name in unknown} == {"skip_layers"}
    enlarged = stacked(image()).unbind(1)
    for level, output in enumerate(deep(image())):
        step = 2**level
        assert torch.equal(output, enlarged[level][..., ::step, ::step, ::step])
    assert torch.equal(deep.eval()(image()), stacked.eval()(image()))


@pytest.mark.parametrize(
    ("network", "heads", "most"),
    [(UNetDS, 3, 2), (UNetDS, -1, 2), (DynUNetDS, 3, 2), (DynUNetDS, True, 2), (UNetDS, 1.0, 2)],
)
def test_impossible_number_of_heads_is_one_sentence(network: type, heads: Any, most: int) -> None:
    with pytest.raises(InputError, match=rf"deep_supervision {heads} is no number .* takes 0 \(none\) to {most}"):
        network(**(UNET if network is UNetDS else DYNUNET), deep_supervision=heads)


@pytest.mark.parametrize(("network", "sizes"), [(UNetDS, UNET), (DynUNetDS, DYNUNET)])
def test_without_heads_there_is_one_output(network: type, sizes: dict[str, Any]) -> None:
    assert [output.shape[-1] for output in network(**sizes, deep_supervision=0)(image())] == [32]


def test_supervised_model_is_evaluated_exported_and_used(tiny_decathlon: Path, tmp_path: Path) -> None:
    knobs = TINY | {"deep_supervision": 1, "ema_decay": 0.9}
    run(tmp_path, "train.json", "network/unet_ds.json", dataset_dir=str(tiny_decathlon), **knobs)
    run(tmp_path, "train.json", "network/unet_ds.json", "evaluate.json")
    assert (tmp_path / "runs" / "run" / "test" / "summary.json").is_file()
    job = run(
        tmp_path, "inference.json", kind="infer", dataset_dir=str(tiny_decathlon), output_dir=str(tmp_path / "out")
    )
    assert len(list((tmp_path / "out").rglob("*_seg.nii.gz"))) == 2
    network = job.content("network").eval()
    assert isinstance(network, UNetDS)
    assert_exports(tmp_path, tmp_path / "models" / "model.pt", network, BUNDLE / "configs" / "inference.json")


# Knobs that make the networks of the configs small.
SMALL = {
    "network/unet_ds.json": {"network_def::channels": [4, 8, 16, 32, 32]},
    "network/dynunet.json": {"network_def::filters": [4] * 6},
    "network/segresnet_ds.json": {
        "network_def::init_filters": 8,
        "network_def::blocks_down": [1, 1, 1, 1],
        "deep_supervision": 1,
    },
}


@pytest.mark.parametrize("lower", [0, 1, 2])
@pytest.mark.parametrize("override", SMALL)
def test_deep_supervision_counts_the_lower_resolutions_of_every_network(override: str, lower: int) -> None:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / name) for name in ("train.json", override)])
    parser.update(SMALL[override] | {"deep_supervision": lower})
    outputs = resolutions(parser.get_parsed_content("network_def").train()(image(64)))
    assert [output.shape[-1] for output in outputs] == [64 // 2**level for level in range(lower + 1)]


@pytest.mark.parametrize("override", ["network/dynunet.json", "network/segresnet_ds.json"])
def test_supervised_networks_export_by_script(override: str, tmp_path: Path) -> None:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / name) for name in ("train.json", override)])
    parser.update(SMALL[override])
    ConfigParser.export_config_file(parser.get(), str(tmp_path / "config.json"))
    network = parser.get_parsed_content("network_def").eval()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    assert_exports(tmp_path, tmp_path / "model.pt", network, tmp_path / "config.json")


def assert_exports(folder: Path, weights: Path, network: torch.nn.Module, config: Path) -> None:
    """TorchScript by script, as the Model Zoo does it, computes what the network does."""
    ckpt_export(
        net_id="network_def", filepath=str(folder / "model.ts"), ckpt_file=str(weights), config_file=str(config),
        meta_file=str(CONFIGS / "metadata.json"), bundle_root=str(BUNDLE), ckpt_dir=str(folder / "models"),
    )  # fmt: skip
    exported = torch.jit.load(folder / "model.ts").eval()
    with torch.no_grad():
        torch.testing.assert_close(exported(image(64)), network(image(64)), rtol=1e-3, atol=1e-4)
