"""Claim: from .nii.gz file to label file takes a fraction of the CPU of MONAI's chain, the network included or not.

    python benchmarks/file_to_file.py [--dataset_dir FOLDER_OF_BRATS_2021_PATIENTS]

MONAI's side: LoadImaged, Orientationd, Spacingd and NormalizeIntensityd to 1.5 x 1.5 x 2 mm; SlidingWindowInferer of
128x128x64 windows that overlap by half, gaussian, fp32; Activationsd, Invertd, AsDiscreted, SaveImaged. Ours: the
transforms of train.json, the network once over the padded brain box (channels_last_3d; bf16 where the CPU computes in
it, else fp32), the postprocessing of inference.json and its writer. The network is train.json's with random weights;
what both sides postprocess is not its noise but the case's own label, smoothed, so that lesions are of real size.

The second pair leaves the network out on both sides. The check feeds both postprocessing chains the same probabilities
on one grid and compares the label maps.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timing

# isort: split
import torch
import volumes
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    CropForegroundd,
    DivisiblePad,
    Invertd,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    SaveImaged,
    Spacingd,
)
from scripts.brain_box import is_brain
from scripts.labels import get_scheme, labels_to_regions, nest_regions, regions_to_labels
from scripts.native import LabelMap, ToNativeGridd
from scripts.predictions import save_volume

SPACING_MM = [1.5, 1.5, 2.0]
WINDOW = (128, 128, 64)
SCHEME = "msd"
RAS = (("L", "R"), ("P", "A"), ("I", "S"))
# A probability this close to the threshold may fall on either side by rounding.
ROUNDING = 1e-5

Forward = Callable[[torch.Tensor], torch.Tensor]


def recipe() -> ConfigParser:
    """train.json at the published spacing."""
    config = ConfigParser()
    config.read_config(str(timing.ROOT / "bundle" / "configs" / "train.json"))
    config["spacing"] = SPACING_MM
    return config


def monai_preprocessing(keys: tuple[str, ...] = ("image",), crop: bool = False) -> Compose:
    """MONAI's own transforms; ``crop`` adds the brain box, for a grid that is the same as ours."""
    box = [CropForegroundd(keys, "image", select_fn=is_brain, allow_smaller=True)] if crop else []
    return Compose([
        LoadImaged(keys, ensure_channel_first=True),
        *box,
        Orientationd(keys, "RAS", labels=RAS),
        Spacingd(keys, SPACING_MM, mode=("bilinear", "nearest")[: len(keys)]),
        NormalizeIntensityd("image", nonzero=True, channel_wise=True),
    ])  # fmt: skip


def lesion_logits(label: torch.Tensor) -> torch.Tensor:
    """Logits (3, H, W, D) of a network that finds the label (1, H, W, D), with soft edges."""
    regions = labels_to_regions(label.as_tensor().float(), get_scheme(SCHEME))
    return torch.nn.functional.avg_pool3d(regions[None], 3, stride=1, padding=1)[0] * 12 - 6


def monai_chain(item: dict[str, str], logits: torch.Tensor, forward: Forward | None, folder: Path) -> Callable[[], Any]:
    """MONAI's file to file; ``forward`` None leaves the network out."""
    before = monai_preprocessing()
    inferer = SlidingWindowInferer(WINDOW, sw_batch_size=4, overlap=0.5, mode="gaussian")
    after = Compose([
        Activationsd("pred", sigmoid=True),
        Invertd("pred", before, "image", nearest_interp=False),
        AsDiscreted("pred", threshold=0.5),
        SaveImaged("pred", output_dir=folder, separate_folder=False, print_log=False, output_dtype="uint8"),
    ])  # fmt: skip

    def run() -> None:
        data = before({"image": item["image"]})
        if forward is not None:
            inferer(data["image"].as_tensor()[None], forward)
        after(data | {"pred": MetaTensor(logits.clone())})

    return run


def our_chain(item: dict[str, str], logits: torch.Tensor, forward: Forward | None, folder: Path) -> Callable[[], Any]:
    """The bundle's file to file; ``forward`` None leaves the network out."""
    before = recipe().get_parsed_content("validate::preprocessing")
    pad = DivisiblePad(16)
    after = Compose([Activationsd("pred", sigmoid=True), ToNativeGridd("pred", before, LabelMap(SCHEME))])

    def run() -> None:
        data = before({"image": item["image"]})
        if forward is not None:
            forward(pad(data["image"].as_tensor())[None])
        labels = after(data | {"pred": logits.clone()})["pred"]
        save_volume(labels.as_tensor()[0].numpy(), item["image"], folder / "ours_seg.nii.gz")

    return run


def one_pass(network: torch.nn.Module) -> tuple[Forward, str]:
    """The network over a whole box in the fastest precision of this CPU, and that precision's name."""
    network = network.to(memory_format=torch.channels_last_3d)
    half = torch.ops.mkldnn._is_mkldnn_bf16_supported()

    def forward(image: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            return network(image.to(memory_format=torch.channels_last_3d)).float()

    return forward, "bf16" if half else "fp32"


def check(item: dict[str, str], logits: torch.Tensor) -> dict[str, Any]:
    """Compare both ways back for the same probabilities on the same grid.

    Raises:
        AssertionError: a voxel differs that is not at the threshold.
    """
    ours, theirs = recipe().get_parsed_content("validate::preprocessing"), monai_preprocessing(crop=True)
    probability = torch.sigmoid(logits)
    data = theirs({"image": item["image"]})
    back = Invertd("pred", theirs, "image", nearest_interp=False)(data | {"pred": MetaTensor(probability.clone())})
    wanted = regions_to_labels(nest_regions(back["pred"].as_tensor() > 0.5), get_scheme(SCHEME))
    found = ToNativeGridd("pred", ours, LabelMap(SCHEME))(ours({"image": item["image"]}) | {"pred": probability})
    differ = found["pred"].as_tensor() != wanted
    sure = ((back["pred"].as_tensor() - 0.5).abs() > ROUNDING).all(0, keepdim=True)
    assert torch.equal(found["pred"].affine, back["pred"].affine) and not (differ & sure).any()
    return {
        "label voxels that differ, all at the threshold": f"{int(differ.sum())} of {int((wanted > 0).sum())} labelled"
    }


def main() -> None:
    """Measure."""
    parser = timing.arguments(__doc__, rounds=3)
    parser.add_argument("--quick", action=timing.argparse.BooleanOptionalAction, default=True, help="at most 3 rounds")
    parser.add_argument("--dataset_dir", type=Path, help="per-patient folders of BraTS 2021; default a synthetic case")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = recipe().get_parsed_content("network_def").eval()
    fast_forward, precision = one_pass(recipe().get_parsed_content("network_def").eval())
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        folder = Path(name)
        item = volumes.full_size_case(folder, options.dataset_dir).item()
        theirs = lesion_logits(monai_preprocessing(("image", "label"))(dict(item))["label"])
        ours = lesion_logits(recipe().get_parsed_content("validate::preprocessing")(dict(item))["label"])
        checks = {"one pass in": precision} | check(item, ours)
        timings = timing.interleave(
            {
                "monai": monai_chain(item, theirs, network, folder),
                "ours": our_chain(item, ours, fast_forward, folder),
                "monai, no network": monai_chain(item, theirs, None, folder),
                "ours, no network": our_chain(item, ours, None, folder),
            },
            rounds=min(options.rounds, 3) if options.quick else options.rounds,
            repeats={"ours, no network": 3},
        )
    ratios = {
        "file_to_file": timing.ratio(timings["monai"], timings["ours"]),
        "file_to_file_without_network": timing.ratio(timings["monai, no network"], timings["ours, no network"]),
    }
    timing.finish(ratios, timings, checks, options.json)


if __name__ == "__main__":
    main()
