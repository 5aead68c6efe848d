"""Claim: the deterministic part of the recipe takes an order of magnitude less CPU a case than the published one.

    python benchmarks/preprocessing.py [--dataset_dir DIR]

Both sides read a 240x240x155 case of four modalities and its label from .nii.gz files and end at 1.5 x 1.5 x 2 mm.
The published side is the AWS sample's offline preprocessing in MONAI's own transforms (float64 resampling is their
default), with its frozen random part and the file it saves; ours is train.json's ``deterministic_transforms`` through
MONAI's ``Compose``. Inflating alone, by the package ``deflate`` into fresh memory, is the floor that both stand on;
what train.json's reader needs for that is shown beside it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import timing

# isort: split
import deflate
import full_size
import published
import torch
from monai.bundle import ConfigParser
from monai.transforms import (
    Compose,
    CropForegroundd,
    LoadImaged,
    NormalizeIntensity,
    Orientationd,
    Spacingd,
)
from scripts.brain_box import is_brain
from scripts.inflate import read_bytes
from scripts.separable import Samples
from scripts.store_case import write_case

SPACING_MM = list(published.SPACING_MM)
KEYS = ("image", "label")
MODES = ("bilinear", "nearest")
RAS = (("L", "R"), ("P", "A"), ("I", "S"))
# Largest difference of an image voxel from MONAI's float64 interpolation, in units of the file's intensity.
IMAGE_TOLERANCE = 2e-3


def ours() -> Compose:
    """train.json's, at the published spacing."""
    config = ConfigParser()
    config.read_config(str(timing.ROOT / "bundle" / "configs" / "train.json"))
    config["spacing"] = SPACING_MM
    return config.get_parsed_content("validate::preprocessing")


def inflate_alone(item: dict[str, str]) -> None:
    """Both files by the package, each into fresh memory."""
    for path in item.values():
        packed = Path(path).read_bytes()
        deflate.gzip_decompress(packed, int.from_bytes(packed[-4:], "little"))


def check(item: dict[str, str]) -> dict[str, Any]:
    """Hold our resampled case against MONAI's transforms in the same order.

    Raises:
        AssertionError: grid, image or label differ by more than rounding.
    """
    reference = Compose([
        LoadImaged(KEYS, ensure_channel_first=True),
        CropForegroundd(KEYS, "image", select_fn=is_brain, allow_smaller=True),
        Orientationd(KEYS, "RAS", labels=RAS),
    ])(dict(item))  # fmt: skip
    wanted = Spacingd(KEYS, SPACING_MM, mode=MODES)(reference)
    transforms = ours().transforms
    found = Compose(transforms[:4])(dict(item))
    assert found["image"].shape == wanted["image"].shape and torch.equal(found["image"].affine, wanted["image"].affine)
    difference = (found["image"] - wanted["image"]).abs().max().item()
    assert difference < IMAGE_TOLERANCE, f"image differs by {difference}"
    differ = torch.nonzero(found["label"][0] != wanted["label"][0])
    axes = [
        Samples.along(before, after, step, 0).positions
        for before, after, step in zip(reference["image"].shape[1:], found["image"].shape[1:], SPACING_MM, strict=True)
    ]
    beside_ties = [
        index for index in differ.tolist() if all(axes[axis][place] % 1 != 0.5 for axis, place in enumerate(index))
    ]
    assert not beside_ties, f"{len(beside_ties)} label voxels differ that lie on no tie"
    # MONAI's resampling leaves residues that count as brain; the normalisation is compared on one and the same image.
    normalised = NormalizeIntensity(nonzero=True, channel_wise=True)(found["image"].as_tensor().clone())
    torch.testing.assert_close(Compose(transforms[4:])(found)["image"].as_tensor(), normalised, rtol=1e-5, atol=1e-5)
    return {
        "largest image difference from MONAI, float64 (intensity units)": difference,
        "label voxels that differ, all of them ties": f"{len(differ)} of {int((wanted['label'] > 0).sum())} labelled",
    }


def main() -> None:
    """Measure."""
    parser = timing.arguments(__doc__, rounds=9)
    parser.add_argument("--dataset_dir", type=Path, help="a set in a known layout; default: the phantom")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        item = full_size.one_case(Path(folder), options.dataset_dir)
        checks = {"gz bytes": sum(Path(path).stat().st_size for path in item.values())} | check(item)
        slow, fast = Compose(published.recipe()), ours()
        timings = timing.interleave(
            {
                "published": lambda: slow(dict(item)),
                "published, saved": lambda: torch.save(slow(dict(item)), Path(folder) / "case.pt"),
                "ours": lambda: fast(dict(item)),
                "ours, stored": lambda: write_case(Path(folder) / "case", fast(dict(item)), "", []),
                "inflate (package)": lambda: inflate_alone(item),
                "inflate (ours)": lambda: [read_bytes(path) for path in item.values()],
            },
            rounds=options.rounds,
            repeats={"ours": 3, "ours, stored": 3, "inflate (package)": 3, "inflate (ours)": 3},
        )
    ratios = {
        "published/ours": timing.ratio(timings["published"], timings["ours"]),
        "published, saved/ours, stored": timing.ratio(timings["published, saved"], timings["ours, stored"]),
        "ours/inflating by the package": timing.ratio(timings["ours"], timings["inflate (package)"]),
        "ours/inflating by our own reader": timing.ratio(timings["ours"], timings["inflate (ours)"]),
    }
    timing.finish(ratios, timings, checks, options.json)


if __name__ == "__main__":
    main()
