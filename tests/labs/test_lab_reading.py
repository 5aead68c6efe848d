"""Lab 03: what is measured of the ways of reading, what goes wrong with caches, and what its checks say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from labkit.caches import PUBLISHED_GRID, case_mb, seen_with_start, seen_without_start, served_shape
from labkit.checks import NotYet
from labkit.reading import WAYS, held_bytes, items_of, loader, measure, recorded, step_costs, transforms
from labkit.reading_checks import (
    KEY_PARTS,
    check_cache_key,
    check_cache_rate,
    check_smart_epochs,
    check_waiting_share,
)
from labkit.reading_plots import bars, cases_seen, cost_of_epochs, waiting_curves
from labkit.waiting import plain_loader, share_at, training_step, watch
from matplotlib import pyplot as plt
from monai.data import CacheDataset
from monai.transforms import Compose
from scripts.errors import InputError

SPACING_MM, PATCH = (2.0, 2.0, 3.0), (16, 16, 16)
Words = pytest.CaptureFixture[str]


@pytest.mark.parametrize("way", WAYS)
def test_each_way_serves_every_case_and_keeps_what_it_says(way: str, tiny_decathlon: Path, tmp_path: Path) -> None:
    items = items_of(tiny_decathlon, 4)
    with pytest.raises(InputError, match="EPOCHS is 1, but at least 2 are wanted"):
        measure(way, items, tmp_path, SPACING_MM, PATCH, epochs=1)
    found = measure(way, items, tmp_path, SPACING_MM, PATCH, epochs=2)
    assert found.samples == (2 if way == "smart_cache" else 4)
    assert (found.memory_mb > 0) == (way in ("cache", "smart_cache"))
    assert (found.disk_mb > 0) == (way in ("persistent", "store"))
    assert found.first_ms > 0 and found.later_ms > 0


def test_ways_serve_crops_of_the_same_cases(tiny_decathlon: Path, tmp_path: Path) -> None:
    items = items_of(tiny_decathlon, 3)
    for way in ("dataset", "store"):
        batches = list(loader(way, items, tmp_path / way, SPACING_MM, PATCH))
        assert sorted(batch["case"][0] for batch in batches) == sorted(item["case"] for item in items)
        assert all(batch["image"].shape == (1, 4, *PATCH) for batch in batches)


def test_memory_is_counted_once_and_fits_the_arithmetic(tiny_decathlon: Path) -> None:
    items = items_of(tiny_decathlon, 2)
    dataset = CacheDataset(items, Compose(transforms(SPACING_MM, PATCH)[0]), progress=False)
    voxels = sum(dataset[index]["label"].numel() for index in range(2))
    # Four float32 channels and one uint8 map; the box's corners are a few bytes.
    assert held_bytes(dataset) == pytest.approx(17 * voxels, rel=0.01)
    shared = torch.zeros(100)

    class Twice:
        _cache = [{"a": shared, "b": shared[:50]}, np.zeros(10, np.uint8)]

    assert held_bytes(Twice()) == 410
    assert held_bytes(object()) == 0


def test_costs_of_steps(tiny_decathlon: Path) -> None:
    fixed, random = transforms(SPACING_MM, PATCH)
    costs = step_costs([*fixed, *random], items_of(tiny_decathlon, 1)[0], rounds=2)
    assert list(costs) == [type(step).__name__ for step in (*fixed, *random)]
    assert costs["LoadImaged"] > 0


def test_recorded_benchmark_has_the_ways_and_the_published_recipe() -> None:
    rows = recorded()["rows"]
    assert set(rows) == {*WAYS, "published"}
    assert rows["store"]["sample_ms"] < rows["published"]["sample_ms"]


def test_waiting_is_told_from_working(tiny_decathlon: Path) -> None:
    items = items_of(tiny_decathlon, 2)
    chain = [step for part in transforms(SPACING_MM, PATCH) for step in part]
    met = []
    found = watch(plain_loader(items, chain, workers=0), lambda image, label: met.append(image.shape), epochs=3)
    assert met == [(1, 4, *PATCH)] * 6
    assert found.workers == 1 and 0 < found.first_s <= found.wait_s and 0 < found.share <= 1


@pytest.mark.parametrize(("keep", "processes"), [(False, 2), (True, 1)])
def test_workers_are_counted(keep: bool, processes: int, tiny_decathlon: Path) -> None:
    source = plain_loader(items_of(tiny_decathlon, 2), transforms(SPACING_MM, PATCH)[0], workers=1, keep_workers=keep)
    # One case a batch, as crops of whole volumes may differ in shape.
    assert watch(source, lambda image, label: None, epochs=2).workers == processes


def test_a_step_trains() -> None:
    torch.manual_seed(0)
    image, label = torch.randn(1, 4, 32, 32, 32), torch.zeros(1, 1, 32, 32, 32, dtype=torch.uint8)
    step = training_step()
    network = next(cell.cell_contents for cell in step.__closure__ if isinstance(cell.cell_contents, torch.nn.Module))
    before = [parameter.clone() for parameter in network.parameters()]
    step(image, label)
    assert any(not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))


def test_share_of_waiting() -> None:
    assert share_at(14.4, 1.2) == pytest.approx(0.923, abs=1e-3)


def test_a_smart_cache_moves_on_only_if_it_is_told_to() -> None:
    assert seen_without_start(range(10), 12) == [5] * 12
    moved = seen_with_start(range(10), 12)
    assert moved[0] == 5 and moved == sorted(moved) and moved[-1] == 10


def test_persistent_dataset_serves_the_old_recipe(tiny_decathlon: Path, tmp_path: Path) -> None:
    items = items_of(tiny_decathlon, 1)
    fine, coarse = (transforms([mm] * 3, PATCH)[0] for mm in (2.0, 4.0))
    first = served_shape(items, fine, tmp_path / "kept")
    assert served_shape(items, coarse, tmp_path / "kept") == first
    assert served_shape(items, coarse, tmp_path / "anew") != first


def test_size_of_a_published_case() -> None:
    assert case_mb(PUBLISHED_GRID, 16, 12) == pytest.approx(55.9, abs=0.05)


def test_figures(tiny_decathlon: Path, tmp_path: Path) -> None:
    readings = [
        measure(way, items_of(tiny_decathlon, 2), tmp_path / way, SPACING_MM, PATCH, epochs=2)
        for way in ("dataset", "store")
    ]
    for figure in (
        bars({"read": 3.0, "crop": 1.0}, "Costs", "ms"),
        cost_of_epochs(readings),
        waiting_curves(readings, 0.1),
        cases_seen([5, 5], [5, 6], 10),
    ):
        assert figure.axes[0].get_title()
        plt.close(figure)
    assert cases_seen([5, 5], [5, 6], 10).axes[0].get_title().startswith("Without update_cache, 5 of 10")
    plt.close("all")


@pytest.mark.parametrize(
    ("share", "hint"),
    [
        (..., "no answer yet"),
        (lambda wait, step: None, "returns nothing yet"),
        (lambda wait, step: "much", "a number is wanted"),
        (lambda wait, step: wait / step, "between 0 and 1"),
        (lambda wait, step: step / (wait + step), "share of working"),
        (lambda wait, step: 0.5, "what is the whole"),
        (lambda wait, step: 14.4 / 15.6, "has a share of 0"),
    ],
)
def test_waiting_share_hints(share: Callable, hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        check_waiting_share(share)


def test_waiting_share_right(capsys: Words) -> None:
    check_waiting_share(lambda wait, step: wait / (wait + step))
    assert "92%" in capsys.readouterr().out


def smart_loop(start: bool, update: bool, shutdown: bool) -> Callable:
    """A loop over epochs that makes some of the calls."""

    def train(dataset, epochs: int) -> set:
        met: set = set()
        if start:
            dataset.start()
        for _ in range(epochs):
            met |= {dataset[index] for index in range(len(dataset))}
            if update:
                dataset.update_cache()
        if shutdown:
            dataset.shutdown()
        return met

    return train


@pytest.mark.parametrize(
    ("train", "hint"),
    [
        (..., "no answer yet"),
        (lambda dataset, epochs: None, "returns nothing yet"),
        (smart_loop(False, False, False), "same 5 of 10"),
        (smart_loop(True, True, False), "still runs"),
        (lambda dataset, epochs: set(range(8)), "8 of 10"),
    ],
)
def test_smart_epochs_hints(train: Callable, hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        check_smart_epochs(train)


def test_smart_epochs_right(capsys: Words) -> None:
    check_smart_epochs(smart_loop(True, True, True))
    assert "Right." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        (..., "no answer yet"),
        ({"the weather"}, "cannot be chosen"),
        (set(KEY_PARTS), "after the cache has been read"),
        (set(KEY_PARTS[:2]), "change the voxel size"),
        ({KEY_PARTS[0], KEY_PARTS[2]}, "keeps its name"),
        ({KEY_PARTS[1], KEY_PARTS[2]}, "tells them apart"),
    ],
)
def test_cache_key_hints(key: set[str], hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        check_cache_key(key)


def test_cache_key_right(capsys: Words) -> None:
    check_cache_key(set(KEY_PARTS[:3]))
    assert "Right." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rate", "hint"),
    [
        (..., "no answer yet"),
        (lambda cases, mb, gb: None, "returns nothing yet"),
        (lambda cases, mb, gb: gb / (cases * mb), "MB and GB are mixed"),
        (lambda cases, mb, gb: 1, "does not fit"),
        (lambda cases, mb, gb: 1000 * gb / (cases * mb), "cached at most"),
    ],
)
def test_cache_rate_hints(rate: Callable, hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        check_cache_rate(rate)


def test_cache_rate_right(capsys: Words) -> None:
    check_cache_rate(lambda cases, mb, gb: min(1, 1000 * gb / (cases * mb)))
    assert "Right." in capsys.readouterr().out
