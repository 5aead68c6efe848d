"""Lab 05's arithmetic agrees with PyTorch, MONAI and the bundle; its checks hint, refuse and pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import pytest
import torch
from labkit import batches
from labkit.checks import NotYet
from monai.data import DistributedSampler
from scripts.files import write_json
from scripts.learning_rate import RULES, scaled
from torch.utils.data import DataLoader


def steps(cases: int, batch_size: int, processes: int) -> int:
    return ceil(ceil(cases / processes) / batch_size)


def deal(cases: int, rank: int, processes: int) -> list[int]:
    return list(range(rank, cases, processes))


def mean_loss(batch_means: Sequence[float], batch_sizes: Sequence[int]) -> float:
    return sum(mean * size for mean, size in zip(batch_means, batch_sizes, strict=True)) / sum(batch_sizes)


ANSWERS: dict[Callable[[Any], None], tuple[Callable[..., Any], list[Callable[..., Any]]]] = {
    batches.check_steps: (
        steps,
        [
            lambda cases, batch_size, processes: cases // batch_size,
            lambda cases, batch_size, processes: ceil(cases / batch_size),
            lambda cases, batch_size, processes: ceil(cases // processes / batch_size),
        ],
    ),
    batches.check_cases_a_gpu: (
        lambda batch_size, world_size: batch_size // world_size,
        [batches.published_batch_size, lambda batch_size, world_size: batch_size],
    ),
    batches.check_deal: (
        deal,
        [
            lambda cases, rank, processes: batches.dealt(cases, processes)[rank],
            lambda cases, rank, processes: range(cases) if rank == 0 else [],
            lambda cases, rank, processes: range(rank, cases - 1, processes),
            lambda cases, rank, processes: rank,
        ],
    ),
    batches.check_mean_loss: (
        mean_loss,
        [batches.logged_loss, lambda means, sizes: sum(means) / len(means), lambda means, sizes: means],
    ),
}


@pytest.mark.parametrize("check", ANSWERS, ids=lambda check: check.__name__)
def test_checks_pass_the_right_answer_and_hint_at_others(check: Callable[[Any], None]) -> None:
    right, wrong = ANSWERS[check]
    check(right)
    for nothing in (..., None):
        with pytest.raises(NotYet, match="returns nothing yet"):
            check(lambda *arguments, nothing=nothing: nothing)
    for answer in wrong:
        with pytest.raises(NotYet):
            check(answer)


@pytest.mark.parametrize(("cases", "processes", "batch_size"), [(5, 2, 1), (479, 8, 32), (12, 4, 2), (7, 3, 2)])
def test_steps_are_those_of_a_loader_over_a_padded_sampler(cases: int, processes: int, batch_size: int) -> None:
    for share in batches.dealt(cases, processes):
        assert len(DataLoader(share, batch_size=batch_size)) == batches.steps_an_epoch(cases, batch_size, processes)


@pytest.mark.parametrize(("cases", "processes"), [(5, 2), (5, 4), (9, 3)])
def test_the_solution_deals_as_the_bundles_sampler_does(cases: int, processes: int) -> None:
    for rank in range(processes):
        sampler = DistributedSampler(
            range(cases), even_divisible=False, num_replicas=processes, rank=rank, shuffle=False
        )
        assert list(sampler) == deal(cases, rank, processes)


def test_padding_repeats_three_of_five_cases_on_eight_processes() -> None:
    assert len(batches.twice(batches.dealt(5, 8))) == 3
    assert batches.twice([[0, 1], [2]]) == []


def test_the_published_line_is_shown_as_it_runs() -> None:
    text = repr(batches.batch_table([4, 8, 16]))
    assert "ZeroDivisionError" in text
    # 8 GPUs: 32 cases each, 256 in all, two steps an epoch; 16 GPUs: 16 each.
    rows = [line.split() for line in text.splitlines()[3:]]
    assert rows == [["8", "32", "256", "2", "20"], ["16", "16", "256", "2", "20"]]


@pytest.mark.parametrize("rule", RULES)
def test_rates_of_one_process_are_the_bundles(rule: str) -> None:
    # Four accumulated batches are to the rule what four processes are.
    assert batches.scaled_rate(0.002, rule, 4) == pytest.approx(scaled(0.002, rule, 4))


def test_notes_tell_scores_shares_and_the_epoch_that_a_process_alone_would_choose(tmp_path: Path) -> None:
    rows = {0: [(1, "a", 0.9), (1, "b", 0.5), (2, "a", 0.6), (2, "b", 0.6)], 1: [(1, "c", 0.1), (2, "c", 0.8)]}
    for rank, entries in rows.items():
        notes = [{"epoch": epoch, "step": 1, "case": case, "dice": dice} for epoch, case, dice in entries]
        write_json(tmp_path / f"validation_{rank}.json", notes)
    found = batches.scores(tmp_path)
    assert found == {1: {"a": 0.9, "b": 0.5, "c": 0.1}, 2: {"a": 0.6, "b": 0.6, "c": 0.8}}
    assert batches.own_cases(tmp_path, 0) == ["a", "b"] and batches.own_cases(tmp_path, 1) == ["c"]
    assert batches.best_epochs(found, ["a", "b"]) == (2, 1)


def test_a_log_by_the_published_lines_is_off_by_the_size_of_the_batches() -> None:
    assert batches.logged_loss([0.996] * 3, [2, 2, 1]) == pytest.approx(0.5976)
    assert torch.tensor([0.996] * 5).mean().item() == pytest.approx(mean_loss([0.996] * 3, [2, 2, 1]))
