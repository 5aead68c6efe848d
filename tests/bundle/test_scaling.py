"""The scaling model: its formulas against values worked out by hand, and its words on the published runs."""

from __future__ import annotations

import pytest
from scripts import scaling, scaling_published
from scripts.errors import InputError
from scripts.scaling import Step, all_reduce_seconds, data_seconds, epoch_seconds, scaling_efficiency


def test_a_ring_sends_all_but_one_nth_of_the_bytes_twice() -> None:
    assert all_reduce_seconds(100, 1, 10, 1) == 0
    assert all_reduce_seconds(100, 2, 10, 0) == pytest.approx(10)
    assert all_reduce_seconds(100, 4, 10, 0) == pytest.approx(15)
    assert all_reduce_seconds(100, 4, 10, 0.5) == pytest.approx(15 + 6 * 0.5)


def test_samples_come_as_fast_as_the_slower_of_workers_and_storage() -> None:
    assert data_seconds(8, 2.0, 4) == pytest.approx(4)
    assert data_seconds(8, 2.0, 4, sample_bytes=100, bytes_per_s=400) == pytest.approx(4)
    assert data_seconds(8, 2.0, 4, sample_bytes=100, bytes_per_s=50) == pytest.approx(16)


def test_a_step_hides_the_exchange_behind_the_backward_pass_and_the_data_behind_both() -> None:
    assert Step(1, 6, 4).seconds == pytest.approx(6)
    assert Step(1, 6, 5).seconds == pytest.approx(7)
    assert (Step(9, 6, 5).seconds, Step(9, 6, 5).bound_by) == (pytest.approx(9), "data")
    assert Step(9, 6, 5, waits_for_data=True).seconds == pytest.approx(16)
    assert Step(1, 6, 5).bound_by == "compute"
    assert epoch_seconds(Step(0, 2, 0), samples=1000, batch_size=10, gpus=5) == pytest.approx(40)


def test_efficiency_is_speed_up_over_ratio_of_gpus() -> None:
    assert scaling_efficiency(2400, 8, 1300, 16) == pytest.approx(0.923, abs=5e-4)
    assert scaling_efficiency(10, 1, 2.5, 4) == 1
    with pytest.raises(InputError, match="more_seconds is 0"):
        scaling_efficiency(10, 1, 0, 4)


def test_the_published_runs_are_predicted_within_a_third_and_bound_by_data() -> None:
    for gpus in (8, 16):
        row = scaling_published.predict(gpus)
        assert abs(row.error) < 0.33
        assert row.step.bound_by == "data"
        assert row.step.exposed_s == 0


def test_a_constant_of_an_epoch_is_found_again() -> None:
    assert scaling_published.constant_seconds({8: 1600 / 8 + 30, 16: 1600 / 16 + 30}, 8, 16) == pytest.approx(30)


def test_faster_storage_leaves_the_computation_as_the_limit() -> None:
    facts = scaling_published.changed(scaling_published.FACTS, [("storage", "1e12"), ("cpu_ratio", "0")])
    row = scaling_published.predict(8, facts)
    assert row.step.bound_by == "compute" and row.predicted_s < 100
    assert facts["storage"].kind == scaling_published.GUESS


def test_the_command_prints_inputs_and_predictions(capsys: pytest.CaptureFixture[str]) -> None:
    assert scaling.main([]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in scaling_published.FACTS)
    assert "efficiency 92.3%" in printed and "predicted s/epoch" in printed
    for kind in (scaling_published.MEASURED, scaling_published.PUBLISHED, scaling_published.GUESS):
        assert f" {kind} " in printed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--set", "stroage", "1"], "no such input"),
        (["--set", "storage", "fast"], "'fast' is not a number"),
        (["--set", "storage", "0"], "--set storage 0 is out of range; give a finite number above 0 (unit: bytes/s)."),
        (["--set", "sample_bytes", "-4"], "--set sample_bytes -4 is out of range; give a finite number of 0 or more"),
        (["--set", "latency", "nan"], "--set latency nan is out of range"),
        (["--set", "gpu_peak", "inf"], "--set gpu_peak inf is out of range"),
        (["--set", "samples", "0"], "--set samples 0 is out of range; give a whole number of 1 or more"),
        (["--set", "batch_size", "0.5"], "--set batch_size 0.5 is out of range"),
    ],
)
def test_bad_values_are_one_sentence(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert scaling.main(arguments) == 1
    printed = capsys.readouterr()
    assert sentence in printed.err and printed.err.count("\n") == 1 and not printed.out
