"""Batches from the store: the same whatever the timing, every case once, and nothing left behind by an early stop."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms import RandFlipd
from scripts.errors import InputError
from scripts.intensity_draw import SWITCHES
from scripts.loader import PatchLoader
from scripts.patches import LocateTumourd, RandPatchd
from scripts.resident import ResidentStore
from scripts.store_data import StoreDataset
from test_store import chain, listed
from tiny import TINY, write_decathlon
from torch.utils.data import DistributedSampler
from workflow import run

SIZE = (16, 16, 16)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> StoreDataset:
    folder = write_decathlon(tmp_path_factory.mktemp("loader") / "Task01", cases=5)
    return StoreDataset(listed(folder), chain(), str(tmp_path_factory.mktemp("loader") / "store"))


def loader(dataset: StoreDataset, num_samples: int = 2, knobs: dict | None = None, **options) -> PatchLoader:
    patches = RandPatchd(num_samples=num_samples, patch_size=SIZE, rotate_prob=0.5, **(knobs or {}))
    transforms = [LocateTumourd(), patches]
    return PatchLoader(dataset, transforms, **({"batch_size": 2, "seed": 3} | options))


def kept(batches) -> list[dict]:
    """Copies: a batch's memory is used again."""
    return [{key: v.clone() if isinstance(v, torch.Tensor) else v for key, v in batch.items()} for batch in batches]


def test_batches_are_what_the_network_reads(dataset: StoreDataset) -> None:
    made = loader(dataset)
    batches = kept(made)
    assert len(made) == len(batches) == 3
    assert [batch["image"].shape for batch in batches] == [(4, 4, *SIZE), (4, 4, *SIZE), (2, 4, *SIZE)]
    assert all(batch["label"].shape == (len(batch["case"]), 1, *SIZE) for batch in batches)
    first = next(iter(made))
    assert first["image"].is_contiguous(memory_format=torch.channels_last_3d)
    assert first["image"].dtype == torch.float32 and first["label"].dtype == torch.uint8


def test_every_case_comes_once_an_epoch_in_a_new_order(dataset: StoreDataset) -> None:
    made = loader(dataset, num_samples=1, batch_size=1)
    orders = [[name for batch in made for name in batch["case"]] for _ in range(3)]
    assert all(sorted(order) == sorted(dataset.names) for order in orders)
    assert orders[0] != orders[1] or orders[1] != orders[2]


def test_an_epoch_can_be_repeated(dataset: StoreDataset) -> None:
    first, second = loader(dataset, ahead=1), loader(dataset, ahead=4)
    one = [kept(first), kept(first)]
    second.set_epoch(1)
    for ours, theirs in zip(one[1], kept(second), strict=True):
        assert ours["case"] == theirs["case"]
        assert torch.equal(ours["image"], theirs["image"]) and torch.equal(ours["label"], theirs["label"])
    assert not torch.equal(one[0][0]["image"], one[1][0]["image"])
    assert not torch.equal(one[0][0]["image"], kept(loader(dataset, seed=4))[0]["image"])


def test_patches_are_the_cases_own(dataset: StoreDataset) -> None:
    transforms = [RandPatchd(patch_size=SIZE, flip_prob=0.0, gain=0.0, shift=0.0, tumour_crops=1.0)]
    for batch in PatchLoader(dataset, transforms, batch_size=1, shuffle=False):
        whole = dataset[dataset.names.index(batch["case"][0])]
        windows = whole["label"].as_tensor()[0].unfold(0, 16, 1).unfold(1, 16, 1).unfold(2, 16, 1)
        places = (windows == batch["label"][0, 0]).all(-1).all(-1).all(-1).nonzero()
        assert len(places) >= 1
        found = [whole["image"][:, h : h + 16, w : w + 16, d : d + 16] for h, w, d in places.tolist()]
        assert any(torch.allclose(patch.as_tensor(), batch["image"][0], atol=1e-5) for patch in found)


def test_an_early_stop_leaves_no_thread_and_the_next_epoch_whole(dataset: StoreDataset) -> None:
    made = loader(dataset)
    before = threading.active_count()
    for _ in made:
        break
    assert threading.active_count() == before
    assert len(kept(made)) == 3


def test_two_epochs_at_the_same_time_do_not_share_memory(dataset: StoreDataset) -> None:
    made, alone = loader(dataset), kept(loader(dataset))
    first = iter(made)
    ours = [kept([next(first)])[0]]
    made.set_epoch(0)
    theirs = kept(made)
    ours += kept(first)
    for one, other, wanted in zip(ours, theirs, alone, strict=True):
        assert torch.equal(one["image"], wanted["image"]) and torch.equal(other["image"], wanted["image"])


def test_an_error_in_the_thread_reaches_the_caller(dataset: StoreDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    made = loader(dataset)
    next(iter(made))
    monkeypatch.setattr(dataset, "stored", lambda index: (_ for _ in ()).throw(InputError("gone: the disk went away.")))
    with pytest.raises(InputError, match="the disk went away"):
        list(made)


def test_the_caller_keeps_its_threads(dataset: StoreDataset) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        list(loader(dataset))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_sampler_gives_this_processs_share(dataset: StoreDataset) -> None:
    made = loader(dataset, num_samples=1, sampler=[4, 0], batch_size=1)
    assert [name for batch in made for name in batch["case"]] == [dataset.names[4], dataset.names[0]]
    assert len(made) == 2


def test_a_distributed_sampler_deals_anew_every_epoch(dataset: StoreDataset) -> None:
    sampler = DistributedSampler(dataset, num_replicas=2, rank=0, shuffle=True)
    made = loader(dataset, num_samples=1, sampler=sampler, batch_size=1)
    orders = [[name for batch in made for name in batch["case"]] for _ in range(4)]
    assert len({tuple(order) for order in orders}) > 1


def test_several_processes_without_a_sampler_are_refused(
    dataset: StoreDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.distributed.world_size", lambda: 2)
    with pytest.raises(InputError, match="multi_gpu_train.json after"):
        loader(dataset)


def test_transforms_that_the_store_cannot_make_are_refused(dataset: StoreDataset) -> None:
    with pytest.raises(InputError, match=r"RandFlipd.*data/cache.json"):
        PatchLoader(dataset, [RandPatchd(patch_size=SIZE), RandFlipd("image")], batch_size=1)


def test_they_are_refused_before_a_case_is_prepared(tiny_decathlon: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data/store.json cannot make"):
        StoreDataset(listed(tiny_decathlon), chain(), str(tmp_path / "s"), random_transforms=[RandFlipd("image")])
    assert not (tmp_path / "s").exists()


def test_cases_without_a_label_are_refused(tiny_decathlon: Path, tmp_path: Path) -> None:
    item = {key: value for key, value in listed(tiny_decathlon)[0].items() if key != "label"}
    with pytest.raises(InputError, match="BRATS_001: have no label"):
        StoreDataset([item], chain(), str(tmp_path / "s"))


def test_a_training_from_the_store_is_repeatable(tiny_decathlon: Path, tmp_path: Path) -> None:
    weights = []
    for attempt in ("a", "b"):
        run(
            tmp_path / attempt, "train.json", "data/store.json", dataset_dir=str(tiny_decathlon),
            store_dir=str(tmp_path / "store"), **TINY,
        )  # fmt: skip
        weights.append(torch.load(tmp_path / attempt / "models" / "model.pt", weights_only=True))
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    line = (tmp_path / "b" / "runs" / "run" / "metrics.jsonl").read_text().splitlines()[0]
    assert np.isfinite(json.loads(line)["train_loss"])


EFFECTS = dict.fromkeys(SWITCHES, 0.5)


@pytest.mark.parametrize("knobs", [{}, EFFECTS], ids=["plain", "augmented"])
def test_a_store_on_the_device_gives_the_same_batches(dataset: StoreDataset, knobs: dict) -> None:
    """Here the device is the CPU, in eager mode; the same code runs on a GPU."""
    from_files, on_device = loader(dataset, knobs=knobs), loader(dataset, knobs=knobs)
    on_device._resident = ResidentStore(dataset.cases(), torch.device("cpu"))
    for ours, theirs in zip(kept(on_device), kept(from_files), strict=True):
        assert ours["case"] == theirs["case"]
        torch.testing.assert_close(ours["image"], theirs["image"], atol=2e-3, rtol=1e-3)
        assert (ours["label"] != theirs["label"]).float().mean() < 2e-3


@pytest.mark.parametrize("seed", range(4))
def test_a_patch_from_memory_is_the_stores(dataset: StoreDataset, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    made = loader(dataset, batch_size=1, shuffle=False, seed=seed, knobs=EFFECTS)
    batch = kept(made)[0]
    transform = RandPatchd(num_samples=2, patch_size=SIZE, rotate_prob=0.5, **EFFECTS)
    monkeypatch.setattr(transform, "randomize", lambda: made._rng(0, 0))
    for index, item in enumerate(transform(dataset[0])):
        torch.testing.assert_close(item["image"], batch["image"][index], atol=2e-3, rtol=1e-3)
        assert (item["label"] != batch["label"][index]).float().mean() < 2e-3


def test_changes_of_intensity_leave_the_label(dataset: StoreDataset) -> None:
    for plain, changed in zip(kept(loader(dataset)), kept(loader(dataset, knobs=EFFECTS)), strict=True):
        assert torch.equal(plain["label"], changed["label"])
        assert not torch.equal(plain["image"], changed["image"])
