"""Lab 08's arithmetic agrees with Ray's ASHA and with PyTorch; its checks hint, refuse and pass."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from labkit import search_figures, searches
from labkit.checks import NotYet
from labkit.project import BUNDLE
from monai.bundle import ConfigParser
from scripts.scaling_published import FACTS
from torch.utils.flop_counter import FlopCounterMode


def test_epochs_of_strict_halving() -> None:
    assert searches.rungs(4, 3, 20) == [4, 12]
    assert searches.halving_epochs(12, 4, 3, 20) == 12 * 4 + 4 * 8 + 1 * 8
    assert searches.halving_epochs(4, 1, 2, 4) == 4 + 2 + 2
    # A grace period as long as the training stops nothing.
    assert searches.halving_epochs(5, 20, 3, 20) == 100


@pytest.mark.parametrize("seed", range(5))
def test_trials_stop_where_rays_asha_stops_them(seed: int) -> None:
    schedulers = pytest.importorskip("ray.tune.schedulers.async_hyperband")
    scores = [float(score) for score in random.Random(seed).sample(range(100), 12)]
    bracket = schedulers._Bracket(4, 20, 3, 0)
    ends = []
    for trial, score in enumerate(scores):
        stops = (epoch for epoch in range(1, 21) if bracket.on_result(_Trial(str(trial)), epoch, score) == "STOP")
        ends.append(next(stops, 20))
    assert searches.asha_stops(scores, 4, 3, 20) == ends
    assert len(set(ends)) > 1


class _Trial:
    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id


def test_the_order_of_trials_decides_what_asha_saves() -> None:
    assert searches.asha_stops(range(12), 4, 3, 20) == [20] * 12
    assert searches.asha_stops(range(12)[::-1], 4, 3, 20) == [20] + [4] * 11


def test_both_ways_to_share_devices() -> None:
    trials = searches.Trials(8, start_s=10.0, train_s=100.0)
    assert trials.experiment_parallel_s(4) == 220
    assert trials.data_parallel_s(4) == 8 * 35
    assert trials.data_parallel_s(4, efficiency=0.5) == 8 * 60
    # A single device has no choice.
    assert trials.experiment_parallel_s(1) == trials.data_parallel_s(1) == 880


def test_the_share_that_is_not_divided_gives_the_speed_up_back() -> None:
    share = searches.serial_share(12, 32)
    assert 1 / (share + (1 - share) / 32) == pytest.approx(12)
    assert searches.serial_share(32, 32) == 0


def test_the_model_counts_the_network_of_the_published_grid() -> None:
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / "configs" / "train.json"), str(BUNDLE / "configs" / "recipe" / "distmis.json")])
    parser["network_def::norm"] = "batch"
    with torch.device("meta"):
        network = parser.get_parsed_content("network_def")
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 4, *parser["reshape"])).sum().backward()
    assert sum(parameter.numel() for parameter in network.parameters()) == searches.DISTMIS_PARAMETERS
    assert counter.get_total_flops() == pytest.approx(searches.DISTMIS_FLOP, rel=0.001)
    assert FACTS["gpu_peak"].value * FACTS["gpu_share"].value == searches.V100_FLOP * searches.V100_SHARE
    assert searches.distmis_step(32).exposed_s == 0


def test_the_best_of_equal_trials_looks_better_than_they_are() -> None:
    assert searches.best_of_noise(1, 0.02, 0.8) == pytest.approx(0.8, abs=0.002)
    # The largest of 32 normal draws lies 2.07 standard deviations above the mean.
    assert searches.best_of_noise(32, 0.02, 0.8) == pytest.approx(0.8 + 2.07 * 0.02, abs=0.002)


def test_the_check_of_trials(tmp_path: Path) -> None:
    file = tmp_path / "six.json"
    file.write_text(json.dumps({"space": {"a": {"grid": [1, 2]}, "b": {"grid": [1, 2, 3]}}, "epochs": 1}))
    searches.check_trials(6, file)
    for answer, words in ((..., "no answer yet"), (5, "every value")):
        with pytest.raises(NotYet, match=words):
            searches.check_trials(answer, file)


def test_the_check_of_a_rate() -> None:
    searches.check_rate_entry({"loguniform": [1e-5, 1e-1]})
    wrong = {
        "no answer yet": ...,
        "nine of ten": {"uniform": [1e-5, 1e-1]},
        "lists the kinds": {"choice": [1e-5, 1e-1]},
        "keep the limits": {"loguniform": [1e-4, 1e-1]},
        "one entry": "loguniform",
    }
    for words, answer in wrong.items():
        with pytest.raises(NotYet, match=words):
            searches.check_rate_entry(answer)


def test_uniform_rates_crowd_in_the_highest_decade() -> None:
    uniform, log = (searches.drawn_rates({kind: [1e-5, 1e-1]}, 400) for kind in ("uniform", "loguniform"))
    assert searches.shares_by_decade(uniform)[-2] > 0.85
    assert all(0.15 < share < 0.35 for share in searches.shares_by_decade(log).values())
    assert searches.shares_by_decade([2e-3, 3e-3, 2e-2, 2e-2]) == {-3: 0.5, -2: 0.5}


def test_a_searchs_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("trial,status\ntrial_001,finished\ntrial_000,stopped\n")
    assert [row["status"] for row in searches.results(tmp_path)] == ["finished", "stopped"]
    for trial, losses in {"trial_000": [3.0], "trial_001": [2.0, 1.0]}.items():
        (tmp_path / "trials" / trial).mkdir(parents=True)
        lines = [json.dumps({"train_loss": loss}) for loss in losses]
        (tmp_path / "trials" / trial / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    curves = search_figures.learning(tmp_path, "train_loss")
    assert curves == {"trial_000": [3.0], "trial_001": [2.0, 1.0]}
    (axis,) = search_figures.learning_figure(curves, {name: name for name in curves}, "loss").axes
    assert [list(line.get_ydata()) for line in axis.lines] == [[3.0], [2.0, 1.0]]
    plt.close("all")


def test_figures_of_asha_and_of_a_picture(tmp_path: Path) -> None:
    figure = search_figures.asha_figure({"one": [4, 20], "two": [20, 20]}, [4, 12])
    assert [bar.get_height() for bar in itertools.chain(*(axis.patches for axis in figure.axes))] == [4, 20, 20, 20]
    plt.imsave(tmp_path / "a.png", [[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]])
    (axis,) = search_figures.picture_figure(tmp_path / "a.png").axes
    assert axis.images[0].get_array().shape[:2] == (1, 2)
    plt.close("all")
