"""Lab 05's memory arithmetic, its check, and its figures."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest
from labkit import many_gpus
from labkit.checks import NotYet
from scripts.scaling_published import predict


def test_state_is_what_the_bundles_documents_say() -> None:
    assert many_gpus.state_mb(1.98e6, 2, sharded=False) == pytest.approx(32, abs=0.4)
    assert many_gpus.state_mb(1.98e6, 2, sharded=True) == pytest.approx(15.8 + 7.9, abs=0.1)
    assert many_gpus.state_mb(62.2e6, 2, sharded=True) == pytest.approx(498 + 249, abs=1)


def test_the_check_of_memory_passes_the_right_answer_and_hints_at_others() -> None:
    many_gpus.check_state(lambda parameters, processes: parameters * (16 / processes + 4) / 1e6)
    with pytest.raises(NotYet, match="returns nothing yet"):
        many_gpus.check_state(lambda parameters, processes: None)
    with pytest.raises(NotYet, match="a number is wanted"):
        many_gpus.check_state(lambda parameters, processes: "much")
    with pytest.raises(NotYet, match="cut up"):
        many_gpus.check_state(lambda parameters, processes: parameters * (8 / processes + 4) / 1e6)
    with pytest.raises(NotYet, match="keep whole"):
        many_gpus.check_state(lambda parameters, processes: parameters * 16 / processes / 1e6)
    with pytest.raises(NotYet, match="equal parts"):
        many_gpus.check_state(lambda parameters, processes: parameters * (16 / processes**2 + 4) / 1e6)


def test_figures_show_every_part_and_every_gpu_count() -> None:
    rows = [predict(8), predict(16)]
    left, right = many_gpus.step_figure(rows).axes
    assert sorted(bar.get_height() for bar in left.patches) == pytest.approx(
        sorted(value for row in rows for value in (row.step.data_s, row.step.compute_s, row.step.exchange_s))
    )
    assert list(right.lines[1].get_ydata())[1:] == [row.predicted_s for row in rows]
    (state,) = many_gpus.state_figure({"one": 1e9}, [1, 8]).axes
    assert list(state.lines[1].get_ydata()) == pytest.approx([20, 6])
    (loss,) = many_gpus.loss_figure([2.0, 1.0], [2.0, 1.1], processes=4).axes
    assert [list(line.get_ydata()) for line in loss.lines] == [[2.0, 1.0], [2.0, 1.1]]
    assert [line.get_label() for line in loss.lines] == ["1 process, batch of 4", "4 processes, batch of 1 each"]
    plt.close("all")
