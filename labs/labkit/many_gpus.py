"""Lab 05's memory of sharded training, and its figures of the scaling model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from scripts.figures import BLUE, GREEN, ORANGE, VERMILLION
from scripts.scaling_published import PUBLISHED_EPOCHS_S, Row

from .checks import counted, require, right

# float32 weights, gradients and AdamW's two moments.
STATE_BYTES, WHOLE_COPY_BYTES = 16, 4
TOLERANCE = 1e-6


def state_mb(parameters: float, processes: int, sharded: bool) -> float:
    """What a process keeps between its steps, in MB (10^6 bytes): weights, gradients and AdamW's moments.

    Args:
        parameters: of the network, float32.
        processes: of the job.
        sharded: by FSDP, as the bundle does it: each process also holds a whole copy of the weights to validate with.
    """
    each = STATE_BYTES / processes + WHOLE_COPY_BYTES if sharded else STATE_BYTES
    return parameters * each / 1e6


def check_state(answer: Callable[[float, int], float]) -> None:
    """The exercise "memory a process"."""
    kept = counted(answer, 1e6, 10**9)
    gone = counted(answer, 1e6, 1) - kept
    require(
        abs(gone - STATE_BYTES) < 1e-3,
        f"of a million parameters, {gone:.3g} MB are cut up; weights, gradients and two moments have 4 bytes each.",
    )
    require(
        abs(kept - WHOLE_COPY_BYTES) < 1e-3,
        f"with ever more processes {kept:.3g} MB of a million parameters stay; what does every process keep whole?",
    )
    for parameters, processes in ((1.98e6, 2), (62e6, 8)):
        off = counted(answer, parameters, processes) / state_mb(parameters, processes, sharded=True) - 1
        require(abs(off) < TOLERANCE, f"{processes} processes hold equal parts of what is cut; yours do not.")
    right("16/N + 4 bytes a parameter: what is cut shrinks with N, the copy that validates does not.")


def state_figure(networks: Mapping[str, float], processes: Sequence[int]) -> Figure:
    """State a GPU over the number of GPUs, with DDP (flat) and with FSDP.

    Args:
        networks: name to number of parameters.
        processes: numbers of GPUs.
    """
    figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for (name, parameters), colour in zip(networks.items(), (BLUE, GREEN, VERMILLION), strict=False):
        whole = state_mb(parameters, 1, sharded=False) / 1000
        axis.plot(processes, [whole] * len(processes), "--", color=colour)
        shares = [state_mb(parameters, count, sharded=True) / 1000 for count in processes]
        axis.plot(processes, shares, "-o", color=colour, label=name)
    axis.axhline(24, color="0.4", linewidth=0.8)
    axis.annotate("24 GB: all memory of an A10G (g5)", (processes[0], 24), xytext=(0, 3), textcoords="offset points")
    axis.set(xscale="log", yscale="log", xlabel="GPUs", ylabel="GB a GPU", ylim=(0.005, 80))
    _ticks(axis.xaxis, processes)
    _ticks(axis.yaxis, [0.01, 0.1, 1, 10])
    axis.set_title("What a GPU keeps between steps: DDP dashed, FSDP solid")
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _ticks(axis: Axis, values: Sequence[float]) -> None:
    """Ticks of a logarithmic axis at round numbers, written in full."""
    axis.set_ticks(values, [f"{value:,g}" for value in values])
    axis.set_ticks([], minor=True)


def step_figure(rows: Sequence[Row]) -> Figure:
    """Parts of a predicted step on a logarithmic axis, and predicted epochs beside the published ones.

    Args:
        rows: of ``scripts.scaling_published.predict``.
    """
    figure, (left, right_axis) = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained")
    parts = {"data": ORANGE, "compute": BLUE, "exchange": VERMILLION}
    for index, (part, colour) in enumerate(parts.items()):
        values = [getattr(row.step, f"{part}_s") for row in rows]
        places = [place + 0.25 * (index - 1) for place in range(len(rows))]
        for bar in left.bar(places, values, 0.24, color=colour, label=part):
            height = bar.get_height()
            left.annotate(f"{height:.2g}", (bar.get_x() + 0.12, height), ha="center", va="bottom", fontsize=8)
    left.set(yscale="log", ylabel="s a step (logarithmic)", xticks=range(len(rows)), ylim=(None, 100))
    left.set_xticklabels([f"{row.gpus} GPUs" for row in rows])
    left.set_title("A step waits for data")
    left.legend(frameon=False, ncols=3, fontsize=8, loc="upper center")
    predicted = {1: PUBLISHED_EPOCHS_S[1]} | {row.gpus: row.predicted_s for row in rows}
    right_axis.plot(list(PUBLISHED_EPOCHS_S), list(PUBLISHED_EPOCHS_S.values()), "o-", color="0.2", label="published")
    right_axis.plot(list(predicted), list(predicted.values()), "s--", color=BLUE, label="predicted from 1 GPU")
    ideal = [PUBLISHED_EPOCHS_S[1] / gpus for gpus in PUBLISHED_EPOCHS_S]
    right_axis.plot(list(PUBLISHED_EPOCHS_S), ideal, ":", color="0.5", label="1 GPU, divided")
    right_axis.set(xscale="log", yscale="log", xlabel="V100 GPUs", ylabel="s an epoch")
    _ticks(right_axis.xaxis, list(PUBLISHED_EPOCHS_S))
    _ticks(right_axis.yaxis, list(PUBLISHED_EPOCHS_S.values()))
    right_axis.set_title("Predicted and published epochs")
    right_axis.legend(frameon=False, fontsize=8)
    return figure


def loss_figure(one: Sequence[float], several: Sequence[float], processes: int) -> Figure:
    """Training losses of one process with the whole batch and of several that share it, one case each.

    Args:
        one: loss of each epoch.
        several: likewise.
        processes: how many share the batch; as many cases are in it.
    """
    figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
    epochs = range(1, len(one) + 1)
    axis.plot(epochs, one, "o-", color=BLUE, markersize=10, label=f"1 process, batch of {processes}")
    axis.plot(epochs, several, "x--", color=ORANGE, markersize=8, label=f"{processes} processes, batch of 1 each")
    axis.set(xlabel="epoch", ylabel="training loss", xticks=list(epochs))
    axis.set_title("The two curves lie on each other")
    axis.legend(frameon=False)
    return figure
