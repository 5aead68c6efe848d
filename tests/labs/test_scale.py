"""Lab 04: shards, who waits, copies, frozen crops, the plan; and what its checks say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from labkit.checks import NotYet
from labkit.copies import in_both, patients, published_split, replicated, split_by_patient
from labkit.frozen import brain_seen, different, fresh_crops, frozen_crops
from labkit.processing_plan import inputs, job, planned
from labkit.reading import items_of
from labkit.scale_checks import check_deal, check_leak, check_slowest
from labkit.scale_plots import brain_met, crops, sides, time_and_dollars, timeline
from labkit.shards import FULL_SHAPE, Fleet, case_seconds, contents, full_size, published_deal, union
from matplotlib import pyplot as plt
from scripts import store
from scripts.naming import patient_of

SPACING_MM, PATCH = (2.0, 2.0, 3.0), (16, 16, 16)


def test_shards_make_the_whole(tiny_decathlon: Path, tmp_path: Path) -> None:
    for folder, shard in (("one", "0/2"), ("other", "1/2"), ("alone", "0/1")):
        flags = ["--dataset_dir", str(tiny_decathlon), "--store_dir", str(tmp_path / folder), "--shard", shard]
        assert store.main(flags) == 0
    one, other, alone = (contents(tmp_path / folder) for folder in ("one", "other", "alone"))
    assert len(one) < len(alone) and union([one, other]) == alone


def test_parts_that_clash_make_no_whole() -> None:
    assert union([{"a": "1", "b": "2"}, {"b": "2", "c": "3"}]) == {"a": "1", "b": "2", "c": "3"}
    with pytest.raises(ValueError, match="b: differs"):
        union([{"b": "2"}, {"b": "3"}])


def test_contents_tell_every_file(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_bytes(b"x")
    before = contents(tmp_path)
    (tmp_path / "below" / "file").write_bytes(b"y")
    assert list(before) == ["below/file"] and contents(tmp_path) != before


@pytest.mark.parametrize(("workers", "dealt"), [(2, 968), (4, 968), (3, 484), (30, 484)])
def test_the_published_slice_doubles_what_divides_evenly(workers: int, dealt: int) -> None:
    assert sum(map(len, published_deal(range(484), workers))) == dealt


def test_a_fleet_waits_for_its_busiest_machine() -> None:
    fleet = Fleet(machines=4, cores=1, case_s=10, start_s=60)
    assert fleet.busy_s(5) == [20, 10, 10, 10]
    assert fleet.finished_s(5) == 80
    assert fleet.billed_hours(5) == pytest.approx(4 * 80 / 3600)
    assert Fleet(machines=1, cores=18, case_s=10).finished_s(19) == 20
    assert Fleet(machines=5, cores=1, case_s=10).busy_s(3) == [10, 10, 10, 0, 0]


def test_a_case_of_the_real_size(tiny_decathlon: Path, tmp_path: Path) -> None:
    made = full_size(items_of(tiny_decathlon, 1)[0], tmp_path)
    image, label = nib.load(made["image"]), nib.load(made["label"])
    assert image.shape == (*FULL_SHAPE, 4) and label.shape == FULL_SHAPE
    assert image.get_data_dtype() == np.int16 and set(np.unique(label.dataobj)) == {0, 1, 2, 3}
    inside = np.asarray(label.dataobj) > 0
    # Image and label are grown alike: there is no tumour outside of the head.
    assert (np.asarray(image.dataobj)[inside] > 0).all()
    # A case of that size stays as it is.
    assert full_size(made, tmp_path / "again") == made


def test_seconds_of_a_case(tiny_decathlon: Path, tmp_path: Path) -> None:
    assert case_seconds(items_of(tiny_decathlon, 1)[0], tmp_path, SPACING_MM, rounds=1) > 0
    assert (tmp_path / "store1" / "store.json").is_file()


def test_copies_leak_as_published_and_not_by_patient() -> None:
    names = replicated()
    assert len(names) == len(set(names)) == 48_400
    training, validation = published_split(names)
    assert len(validation) == 484 and len(patients(validation)) == in_both(training, validation) == 313
    training, validation = split_by_patient(names)
    assert len(training) + len(validation) == 48_400 and in_both(training, validation) == 0


def test_a_saved_crop_stays_the_same(tiny_decathlon: Path, tmp_path: Path) -> None:
    item = items_of(tiny_decathlon, 1)[0]
    frozen = frozen_crops(item, tmp_path / "crop.pt", SPACING_MM, PATCH, epochs=4)
    fresh = fresh_crops(item, SPACING_MM, PATCH, epochs=4)
    assert all(crop.shape == (4, *PATCH) for crop in (*frozen, *fresh))
    assert different(frozen) == 1 and different(fresh) == 4
    once, anew = (brain_seen(item, SPACING_MM, PATCH, 6, fresh) for fresh in (False, True))
    assert len(set(once)) == 1 and anew[0] == once[0] and anew[-1] > once[-1] and anew == sorted(anew)


def test_the_plan_deals_images_and_replicates_labels() -> None:
    plan = planned(machines=3, instance_type="ml.c5.9xlarge")
    rows = {row[0]: row[2] for row in inputs(plan).rows}
    assert rows["data-imagesTr"] == "ShardedByS3Key" and rows["data-labelsTr"] == "FullyReplicated"
    shown = str(job(plan))
    assert "3 x ml.c5.9xlarge" in shown and "scripts.store" in shown and "--only_present" in shown


def test_figures() -> None:
    fleets = [Fleet(machines, 2, 1.0, 60) for machines in (1, 2)]
    images = [torch.zeros(4, *PATCH)] * 2
    assert "38%" in timeline([Fleet(4, 1, 10)], 5).axes[0].get_title()
    for figure in (
        time_and_dollars(fleets, 100, 1.8),
        sides([("over copies", 313, 313), ("by patient", 0, 5)]),
        crops(images, images),
        brain_met([0.2, 0.2], [0.2, 0.4]),
    ):
        assert figure.axes[0].get_title()
    plt.close("all")


@pytest.mark.parametrize(
    ("slowest", "hint"),
    [
        (..., "no answer yet"),
        (lambda cases, machines: None, "returns nothing yet"),
        (lambda cases, machines: cases / machines, "whole cases"),
        (lambda cases, machines: cases // machines, "where is the fifth"),
        (lambda cases, machines: cases, "You say 5"),
        (lambda cases, machines: cases // machines + 1, "four equal shares"),
        (lambda cases, machines: 2 if cases == 5 else 121, "some have 24"),
    ],
)
def test_slowest_hints(slowest: Callable, hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        check_slowest(slowest)


def test_slowest_right(capsys: pytest.CaptureFixture[str]) -> None:
    check_slowest(lambda cases, machines: -(-cases // machines))
    assert "Right." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("deal", "hint"),
    [
        (..., "no answer yet"),
        (lambda cases, machines: None, "returns nothing yet"),
        (published_deal, "return a list of 2 lists"),
        (lambda cases, machines: [cases] * machines, "dealt more than once"),
        (lambda cases, machines: published_deal(cases, machines)[:-1], "dealt to nobody"),
        (lambda cases, machines: [cases, *[[]] * (machines - 1)], "who waits"),
    ],
)
def test_deal_hints(deal: Callable, hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        check_deal(deal)


def test_deal_right(capsys: pytest.CaptureFixture[str]) -> None:
    check_deal(lambda cases, machines: [cases[machine::machines] for machine in range(machines)])
    assert "Right." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("leaking", "hint"),
    [
        (..., "no answer yet"),
        (lambda training, validation: None, "returns nothing yet"),
        (lambda training, validation: len(set(training) & set(validation)), "not file names"),
        (lambda training, validation: 2, "one patient, A"),
        (
            lambda training, validation: sum(patient_of(name) in map(patient_of, training) for name in validation),
            "still one patient",
        ),
        (lambda training, validation: 1, "nobody on both sides"),
    ],
)
def test_leak_hints(leaking: Callable, hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        check_leak(leaking)


def test_leak_right(capsys: pytest.CaptureFixture[str]) -> None:
    check_leak(lambda training, validation: len(patients(training) & patients(validation)))
    assert "Right." in capsys.readouterr().out
