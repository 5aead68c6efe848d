"""Claim: from the store a training sample costs hundreds of times less CPU than the published path, augmentation and
loader included, and a tenth of the memory of MONAI's cache or less.

    python benchmarks/data_path.py [--dataset_dir DIR] [--rounds N] [--json FILE]

One core, one process, all sides in turns; a sample is a patch of 4 x 128 x 128 x 64 float32 with its label. The ratios
are printed with their split: how much is normalising each volume once instead of every crop, how much is the store.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import full_size
import numpy as np
import published
import timing
import torch
from monai.data import CacheDataset, DataLoader, Dataset
from scripts import compiled
from scripts.gather import gather
from scripts.loader import PatchLoader
from scripts.patches import PatchRecipe, RandPatchd
from scripts.store import recipe_of
from scripts.store_data import StoreDataset

TRAIN = str(timing.ROOT / "bundle" / "configs" / "train.json")
AUGMENTATION = {"patch_size": published.PATCH_SIZE, "tumour_crops": 0.67}
TURNING = AUGMENTATION | {"rotate_prob": 1.0, "scale_prob": 1.0}


def drawing(loader: Iterable[Any], samples: int, kernel: bool = True) -> Callable[[], None]:
    """A function that takes ``samples`` samples; without ``kernel`` the gather is PyTorch's.

    Epochs are taken whole, so that no thread goes on working when the clock has stopped.
    """

    def draw() -> None:
        with contextlib.nullcontext() if kernel else mock.patch.object(compiled, "library", lambda name: None):
            drawn = 0
            while drawn < samples:
                drawn += sum(len(batch["image"]) for batch in loader)

    return draw


def copies(items: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """``count`` items over the same files, as a data set of that size would be."""
    return [{**items[k % len(items)], "case": f"{items[k % len(items)]['case']}_copy{k:03d}"} for k in range(count)]


def grown_mb(make: Callable[[], Any]) -> tuple[Any, float]:
    """What ``make`` returns, and by how much the process grew."""
    before = timing.resident_mb()
    made = make()
    return made, timing.resident_mb() - before


def touch(dataset: StoreDataset) -> None:
    """Read every voxel of a store, as a training does in the course of an epoch."""
    for index in range(len(dataset)):
        case = dataset.stored(index)
        case.image.max(), case.label.max()


def check_patch(dataset: StoreDataset) -> float:
    """Largest difference, in standard deviations, between a still patch and the same part of the whole volume."""
    case = dataset.stored(0)
    recipe = PatchRecipe(published.PATCH_SIZE, flip_prob=0.0, gain=0.0, shift=0.0)
    draw = recipe.draw(np.random.default_rng(0), case.label.shape, 4, case.locations)
    out, ids = torch.empty(*published.PATCH_SIZE, 4), torch.empty(published.PATCH_SIZE, dtype=torch.uint8)
    gather(case.image, case.label, draw, case.units, out, ids)
    box = tuple(slice(max(s, 0), s + p) for s, p in zip(draw.start, published.PATCH_SIZE, strict=True))
    whole = dataset[0]["image"].as_tensor()[(slice(None), *box)]
    inside = tuple(slice(max(-s, 0), max(-s, 0) + n) for s, n in zip(draw.start, whole.shape[1:], strict=True))
    return float((out.permute(3, 0, 1, 2)[(slice(None), *inside)] - whole).abs().max())


def main() -> None:
    """Measure and print."""
    parser = timing.arguments(__doc__, rounds=5)
    parser.add_argument("--dataset_dir", type=Path, help="a labelled set; default: three phantom cases of BraTS's size")
    parser.add_argument("--label_scheme", default="msd")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = options.dataset_dir or full_size.dataset_dir()
    items = full_size.cases_of(folder)[:4]
    if not isinstance(items[0]["image"], str):
        raise SystemExit(f"{folder}: the published recipe reads one 4-D file a case; give a Decathlon folder.")
    before, after = published.augmentation()
    cached, cached_mb = grown_mb(
        lambda: CacheDataset(items, published.recipe(options.label_scheme), progress=False, num_workers=1)
    )
    normalised = CacheDataset(
        items,
        [*published.prefix(options.label_scheme), *published.normalisation(), *before, *after],
        progress=False,
        num_workers=1,
        copy_cache=False,
    )
    with tempfile.TemporaryDirectory() as scratch:
        chain, _ = recipe_of([TRAIN], {"spacing": list(published.SPACING_MM)})
        store = StoreDataset(items, chain, scratch)
        _, store_mb = grown_mb(lambda: touch(store))

        def patches(count: int, knobs: dict[str, Any]) -> PatchLoader:
            return PatchLoader(StoreDataset(copies(items, count), chain, scratch), [RandPatchd(**knobs)], batch_size=1)

        slow = published.recipe(options.label_scheme)
        loaders = {
            "published, Dataset": (DataLoader(Dataset(items[:1], slow), batch_size=1), 1),
            "published, CacheDataset": (DataLoader(cached, batch_size=1), 9),
            "CacheDataset, normalised once": (DataLoader(normalised, batch_size=1), 18),
            "store, PyTorch": (patches(64, AUGMENTATION), 64),
            "store, compiled": (patches(64, AUGMENTATION), 64),
            "store, PyTorch, rotated": (patches(8, TURNING), 8),
            "store, compiled, rotated": (patches(32, TURNING), 32),
        }
        samples = {name: -(-count // len(loader)) * len(loader) for name, (loader, count) in loaders.items()}
        sides = {
            name: drawing(loader, samples[name], kernel="PyTorch" not in name) for name, (loader, _) in loaders.items()
        }
        timings = timing.interleave(sides, options.rounds, units=samples)
        difference = check_patch(store)
        disk = sum(file.stat().st_size for file in Path(scratch).rglob("*") if file.is_file()) / len(items)
    if difference > 1e-3:
        raise SystemExit(f"a patch differs from its volume by {difference} standard deviations")
    sources = sum(Path(item[key]).stat().st_size for item in items for key in ("image", "label")) / len(items)
    by = timings.__getitem__
    once = timing.ratio(by("published, CacheDataset"), by("CacheDataset, normalised once"))
    rest = timing.ratio(by("CacheDataset, normalised once"), by("store, compiled"))
    checks = {
        "patch against volume, standard deviations": f"{difference:.1e}",
        "memory a case, CacheDataset, MB": f"{cached_mb / len(items):.1f}",
        "memory a case, store (pages of its files), MB": f"{store_mb / len(items):.1f}",
        "memory of the loader's buffers besides, MB": f"{3 * 17 * published.PATCH_SIZE[0] ** 2 * 64 / 1e6:.0f}",
        "disk a case, .nii.gz, MB": f"{sources / 1e6:.2f}",
        "disk a case, store, MB": f"{disk / 1e6:.2f}",
        "of compiled/CacheDataset, by normalising once": f"{once:.1f}",
        "of compiled/CacheDataset, by the store": f"{rest:.1f}",
    }
    ratios = {
        "memory CacheDataset/store": cached_mb / store_mb,
        "PyTorch/Dataset": timing.ratio(by("published, Dataset"), by("store, PyTorch")),
        "PyTorch/CacheDataset": timing.ratio(by("published, CacheDataset"), by("store, PyTorch")),
        "compiled/CacheDataset": timing.ratio(by("published, CacheDataset"), by("store, compiled")),
        "compiled/Dataset": timing.ratio(by("published, Dataset"), by("store, compiled")),
    }
    timing.finish(ratios, timings, checks, options.json)


if __name__ == "__main__":
    main()
