"""Claim: the logits of a BraTS-sized volume take a fraction of the CPU time that a sliding window takes for them.

    python benchmarks/inference.py                                          # the phantom, about two minutes
    python benchmarks/inference.py --weights MODELS --dataset_dir PATIENTS  # and Dice against the truth, on both sides

MONAI's side: ``SlidingWindowInferer`` over the whole volume of 240 x 240 x 155 voxels, windows of 128 x 128 x 64 that
overlap by half, Gaussian, four in a batch, float32, as its tutorials run it. Ours: ``BrainBoxInferer`` over the same
volume, finding the box included, in bf16 where the CPU computes in it, else in float32 (the check ``precision`` tells).

On a CPU without bf16 one pass takes about a tenth of the sliding window's time, and about a fifteenth compiled. The
aim is a thirtieth, where the CPU has bf16; that has not been measured with this file yet.

- ``one pass``: the network was trained on patches as large as a brain, 144 x 192 x 144.
- ``windows on the box``: it was trained on 128 x 128 x 64, so the box is larger than the network is used to.

The network is train.json's; random weights do for the times. Correctness: one pass gives what MONAI's own inferer gives
with one window over the same box. With ``--weights``, the folder of model.pt and model.json, each labelled patient
is scored on the grid the network works at, by the default inferer for that model's patch and by MONAI's sliding window
with that patch as its window; the mean Dice may be 0.002 lower at most.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import timing

# isort: split
import full_size
import torch
from monai.inferers import SlidingWindowInferer
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    Spacingd,
)
from scripts import data
from scripts.boxes import box_sides, grown, nonzero_box
from scripts.checkpoints import MODEL_FILE, from_recipe, load_weights
from scripts.inferers import BrainBoxInferer
from scripts.labels import get_scheme, labels_to_regions, nest_regions
from scripts.metrics import region_dice
from scripts.precision import autocast, usable_precision
from scripts.step import place

WINDOW, BRAIN = (128, 128, 64), (144, 192, 144)
CPU = torch.device("cpu")
TOLERATED_LOSS = 0.002
KEYS = ("image", "label")


def volume(item: dict[str, Any], spacing_mm: tuple[float, ...] = (0.0, 0.0, 0.0)) -> dict[str, Any]:
    """A case as MONAI users give it to an inferer: whole, normalised over the brain, air at 0. 0 keeps a spacing."""
    chain = Compose([
        LoadImaged(KEYS),
        EnsureChannelFirstd(KEYS),
        Orientationd(KEYS, "RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
        NormalizeIntensityd("image", nonzero=True, channel_wise=True),
        Spacingd(KEYS, spacing_mm, mode=("bilinear", "nearest"), dtype=torch.float32),
    ])  # fmt: skip
    return chain(item)


def sliding_window(patch: tuple[int, ...], network: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """MONAI's side."""
    inferer = SlidingWindowInferer(patch, sw_batch_size=4, overlap=0.5, mode="gaussian")
    return lambda image: inferer(image, network)


def brain_box(
    patch: tuple[int, ...], network: torch.nn.Module, precision: str, **arguments: Any
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Our side."""
    inferer = BrainBoxInferer(patch, overlap=0.5, **arguments)

    def forward(image: torch.Tensor) -> torch.Tensor:
        with autocast(precision, CPU):
            return inferer(image, network)

    return forward


def check_one_pass(image: torch.Tensor, network: torch.nn.Module) -> float:
    """Largest difference of a logit inside the brain between one pass and MONAI's inferer with one window.

    Raises:
        AssertionError: they differ.
    """
    brain = nonzero_box(image[0])
    box = grown(brain, image.shape[2:], [max(pair) for pair in zip(BRAIN, box_sides(brain), strict=True)])
    assert box_sides(box) == BRAIN, f"the brain is larger than a patch of {BRAIN}: {box_sides(brain)}"
    wanted = torch.zeros_like(image[:, :3])
    wanted[(..., *box)] = SlidingWindowInferer(BRAIN, overlap=0.5, mode="gaussian")(image[(..., *box)], network)
    found = brain_box(BRAIN, network, "fp32")(image)
    difference = (found - wanted)[(..., *brain)].abs().max().item()
    assert difference < 1e-3, f"one pass differs from the network on the box by {difference}"
    return difference


def compare_dice(folder: Path, dataset_dir: Path | None, precision: str) -> dict[str, Any]:
    """Mean Dice of the regions, ours and MONAI's, over the patients that the model was neither trained nor chosen on.

    Raises:
        AssertionError: ours is lower by more than is tolerated.
    """
    recipe = {
        name: from_recipe(str(folder), "", name)
        for name in ("network_def", "patch_size", "size_multiple", "spacing", "modalities", "regions")
    }
    network, patch = recipe["network_def"].eval(), tuple(recipe["patch_size"])
    load_weights(network, folder / MODEL_FILE)
    listed = data.test_datalist(
        str(folder), "all" if dataset_dir else "test", dataset_dir and str(dataset_dir), "auto", False,
        recipe["modalities"],
    )  # fmt: skip
    scheme, sides = get_scheme(listed["label_scheme"]), {"monai": [], "ours": []}
    for item in data.items(listed, "test"):
        case = volume(item, tuple(recipe["spacing"]))
        image = case["image"].as_tensor()[None]
        truth = labels_to_regions(case["label"].as_tensor()[None], scheme, recipe["regions"], case=item["case"])
        for side, forward in {
            "monai": sliding_window(patch, network),
            "ours": brain_box(patch, network, precision, size_multiple=recipe["size_multiple"]),
        }.items():
            masks = nest_regions((forward(image)[0] > 0).float(), recipe["regions"])
            sides[side].append(region_dice(masks[None], truth.float())[0])
    means = {side: torch.stack(values).mean(0) for side, values in sides.items()}
    lost = (means["monai"].mean() - means["ours"].mean()).item()
    assert lost <= TOLERATED_LOSS, f"mean Dice is {lost:.4f} lower than the sliding window's: {means}"
    figures = {side: dict(zip(recipe["regions"], map(float, values), strict=True)) for side, values in means.items()}
    return {"Dice": {"patients": len(sides["ours"]), "patch": patch} | figures, "mean Dice, ours - MONAI's": -lost}


def main() -> None:
    """Measure."""
    parser = timing.arguments(__doc__, rounds=3)
    parser.add_argument("--compile", action="store_true", help="one pass also by torch.compile (two minutes more)")
    parser.add_argument("--weights", type=Path, help="folder of model.pt and model.json to score with")
    parser.add_argument("--dataset_dir", type=Path, help="labelled patients to score; default the model's test part")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = from_recipe("", str(timing.ROOT / "bundle"), "network_def").eval()
    precision = usable_precision("bf16", CPU)
    with torch.inference_mode():
        image = volume(full_size.cases_of(full_size.dataset_dir())[0])["image"].as_tensor()[None]
        checks = {"precision": precision, "brain": box_sides(nonzero_box(image[0]))}
        if options.weights is not None:
            checks |= compare_dice(options.weights, options.dataset_dir, precision)
        # MONAI's side first and in its own memory order: placing the network for ours changes the weights' order.
        theirs, ours = network, place(from_recipe("", str(timing.ROOT / "bundle"), "network_def").eval(), CPU)
        ours.load_state_dict(theirs.state_dict())
        checks["one pass against MONAI's one window, largest difference"] = check_one_pass(image, ours)
        sides = {
            "sliding window": sliding_window(WINDOW, theirs),
            "windows on the box": brain_box(WINDOW, ours, precision),
            "one pass": brain_box(BRAIN, ours, precision),
        }
        if options.compile:
            sides["one pass, compiled"] = brain_box(BRAIN, ours, precision, compile=True)
        timings = timing.interleave(
            {name: lambda forward=forward: forward(image) for name, forward in sides.items()},
            rounds=options.rounds,
        )
    reference = timings.pop("sliding window")
    ratios = {f"sliding window / {name}": timing.ratio(reference, timings[name]) for name in timings}
    timing.finish(ratios, {"sliding window": reference} | timings, checks, options.json)


if __name__ == "__main__":
    main()
