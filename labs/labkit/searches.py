"""Lab 08's arithmetic of searches: what ASHA saves, how two ways to share GPUs compare, what a winner's score means."""

from __future__ import annotations

import csv
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scripts.scaling import Step, all_reduce_seconds
from scripts.tune.space import Search, draw, read_search

from .checks import answered, require, right


def rungs(grace_period: int, reduction_factor: int, epochs: int) -> list[int]:
    """Epochs after which ASHA looks, the last one apart: 4, 12, 36 ... for a grace period of 4 and a factor of 3."""
    found = []
    while grace_period < epochs:
        found.append(grace_period)
        grace_period *= reduction_factor
    return found


def halving_epochs(trials: int, grace_period: int, reduction_factor: int, epochs: int) -> int:
    """Epochs of all trials together, if at every rung exactly one of ``reduction_factor`` went on."""
    total, begun, left = 0, 0, trials
    for rung in [*rungs(grace_period, reduction_factor, epochs), epochs]:
        total += left * (rung - begun)
        begun, left = rung, max(1, left // reduction_factor)
    return total


def asha_stops(scores: Sequence[float], grace_period: int, reduction_factor: int, epochs: int) -> list[int]:
    """Epoch at which each trial ends, when trials reach every rung one after the other, in the order of ``scores``.

    This is Ray's rule: a trial stops at a rung where its score is below the quantile ``1 - 1 / reduction_factor`` of
    the scores that were there before it. The first one meets nobody and goes on.

    Args:
        scores: of each trial, the same at every rung; more is better.
        grace_period: epochs before the first look.
        reduction_factor: one of so many goes on.
        epochs: of a trial that is never stopped.
    """
    looks = rungs(grace_period, reduction_factor, epochs)
    seen: dict[int, list[float]] = {rung: [] for rung in looks}
    ends = []
    for score in scores:
        end = epochs
        for rung in looks:
            cut = np.percentile(seen[rung], (1 - 1 / reduction_factor) * 100) if seen[rung] else -math.inf
            seen[rung].append(score)
            if score < cut:
                end = rung
                break
        ends.append(end)
    return ends


@dataclass(frozen=True)
class Trials:
    """A search whose trials are all alike.

    Attributes:
        count: number of trials.
        start_s: of a trial's process: imports, data, report.
        train_s: of a trial on one device.
    """

    count: int
    start_s: float
    train_s: float

    def experiment_parallel_s(self, devices: int) -> float:
        """Wall time with a trial on each device."""
        return math.ceil(self.count / devices) * (self.start_s + self.train_s)

    def data_parallel_s(self, devices: int, efficiency: float = 1.0) -> float:
        """Wall time with each trial on all devices, one trial after the other.

        Args:
            devices: that share a trial.
            efficiency: of its training: speed-up over number of devices.
        """
        return self.count * (self.start_s + self.train_s / (devices * efficiency))


def serial_share(speed_up: float, devices: int) -> float:
    """The share of the work that is not divided, if that alone kept ``devices`` from a full speed-up (Amdahl)."""
    return (1 / speed_up - 1 / devices) / (1 - 1 / devices)


# DistMIS (arXiv 2110.15884) ran on 8 machines of 4 V100 each. Operations of a forward and backward pass of one case of
# 4 x 240 x 240 x 152 voxels, and parameters, are those of configs/recipe/distmis.json, counted by PyTorch.
DISTMIS_FLOP, DISTMIS_PARAMETERS = 2.648e10, 122_695
# A data sheet's peak in float32, and the share of it that is guessed to be reached, as in scripts.scaling_published.
V100_FLOP, V100_SHARE = 15.7e12, 0.25
# Guessed: one port of InfiniBand with 100 Gbit/s a machine, and a message over it.
EDR_BYTES_S, EDR_LATENCY_S = 12.5e9, 5e-6


def distmis_step(gpus: int, batch_size: int = 2) -> Step:
    """A step of the published search, by the model of ``scripts.scaling``; the data are taken to be there."""
    return Step(
        data_s=0.0,
        compute_s=batch_size * DISTMIS_FLOP / (V100_FLOP * V100_SHARE),
        exchange_s=all_reduce_seconds(4 * DISTMIS_PARAMETERS, gpus, EDR_BYTES_S, EDR_LATENCY_S),
    )


def best_of_noise(trials: int, spread: float, true_score: float, repeats: int = 2000, seed: int = 0) -> float:
    """The score by which a winner is announced, on average, when all trials are equally good.

    Args:
        trials: of the search.
        spread: standard deviation of a validation score.
        true_score: of every trial.
        repeats: searches to average over.
        seed: of the draws.
    """
    draws = random.Random(seed)
    return statistics.fmean(max(draws.gauss(true_score, spread) for _ in range(trials)) for _ in range(repeats))


def results(folder: Path) -> list[dict[str, str]]:
    """The lines of a search's results.csv."""
    with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def check_trials(answer: Any, search_file: Path) -> None:
    """The exercise "how many trials"."""
    count, trials = answered(answer, "trials"), draw(read_search(search_file))
    require(count == len(trials), "a grid tries every value of a knob with every value of the others.")
    right("a grid multiplies: one more knob of two values doubles the bill.")


def check_rate_entry(answer: Any) -> None:
    """The exercise "spot the bug": learning rates over four powers of ten, each as likely as the others."""
    entry = answered(answer, "learning_rate")
    require(isinstance(entry, dict) and len(entry) == 1, "write one entry as in a search file: a kind and two limits.")
    ((kind, values),) = entry.items()
    require(kind != "uniform", "'uniform' draws nine of ten rates from the highest power of ten; which kind does not?")
    require(kind == "loguniform", f"'{kind}' cannot draw any rate between two limits; docs/search.md lists the kinds.")
    require(values == [1e-5, 1e-1], "keep the limits: 1e-5 and 1e-1.")
    right("each power of ten gets a quarter of the trials, because the logarithm is what is uniform.")


def drawn_rates(entry: Mapping[str, Any], count: int) -> list[float]:
    """Learning rates that a random search with this entry would try.

    Args:
        entry: as it stands in a search file, such as ``{"uniform": [0.1, 0.2]}``.
        count: how many.
    """
    search = Search("rates", {"learning_rate": dict(entry)}, epochs=1, algorithm="random", num_samples=count)
    return [trial["learning_rate"] for trial in draw(search)]


def shares_by_decade(rates: Sequence[float]) -> Mapping[int, float]:
    """Share of the rates in each power of ten, by its exponent."""
    decades = [math.floor(math.log10(rate)) for rate in rates]
    return {decade: decades.count(decade) / len(decades) for decade in sorted(set(decades))}
