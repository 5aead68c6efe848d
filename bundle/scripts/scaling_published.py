"""The published runs on 1, 8 and 16 GPUs, laid beside the model of :mod:`scripts.scaling`.

Every number that the model takes is a :class:`Fact` that says where it is from. The published runs are those of AWS's
sample (aws.amazon.com/blogs/industries/scalable-medical-computer-vision-model-training-with-amazon-sagemaker-part-2/
and the notebooks it links): the UNet with residual units (configs/network/unet_residual.json), crops of 128x128x64, 484
cases 100 times over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scripts.errors import InputError
from scripts.scaling import Step, all_reduce_seconds, data_seconds, epoch_seconds, scaling_efficiency

MEASURED, PUBLISHED, DERIVED, GUESS = "measured", "published", "derived", "guess"


@dataclass(frozen=True)
class Fact:
    """An input of the model.

    Attributes:
        value: in ``unit``.
        unit: of the value.
        kind: ``measured`` by this project, ``published``, ``derived`` from published figures, or ``guess``.
        source: where it is from.
    """

    value: float
    unit: str
    kind: str
    source: str


FACTS: dict[str, Fact] = {
    "samples": Fact(47916, "crops an epoch", PUBLISHED, "48,400 copies less 1 % for validation"),
    "epoch_1": Fact(31000, "s", PUBLISHED, "1 GPU, ml.p3.2xlarge; it decodes .nii.gz, which the others do not"),
    "workers_1": Fact(4, "processes", PUBLISHED, "notebook, worker processes of the run on 1 GPU"),
    "cpu_ratio": Fact(
        0.0235,
        "1",
        MEASURED,
        "CPU time of loading a preprocessed crop over that of decoding a case, 2-core CPU",
    ),
    "workers_8": Fact(8, "a GPU", DERIVED, "ml.p3.16xlarge: 64 virtual CPUs for 8 GPUs, below its 16 worker processes"),
    "batch_size": Fact(32, "crops a GPU", PUBLISHED, "notebook"),
    "sample_bytes": Fact(
        29.4e6, "bytes", DERIVED, "4 image and 3 label channels of 128x128x64 float32 in one file, as they were saved"
    ),
    "storage": Fact(
        469e6, "bytes/s", DERIVED, "notebook: FSx for Lustre, 2,400 GiB with 200 MB/s a TiB, for all GPUs of a machine"
    ),
    "storage_growth": Fact(
        1, "1", GUESS, "1: storage for 16 GPUs delivered twice as much; 0: as much as for 8. Neither is published"
    ),
    "flop": Fact(39.1e9, "a crop", MEASURED, "PyTorch's FlopCounterMode, forward and backward pass"),
    "gpu_peak": Fact(15.7e12, "FLOP/s", PUBLISHED, "NVIDIA's data sheet of the V100 SXM2, float32"),
    "gpu_share": Fact(0.25, "of peak", GUESS, "eager float32 in cuDNN's deterministic mode; no profile is published"),
    "gradient_bytes": Fact(19.2e6, "bytes", MEASURED, "4.81 million parameters in float32"),
    "link_in": Fact(25e9, "bytes/s", PUBLISHED, "NVLink of the V100, one link in one direction"),
    "link_between": Fact(3.125e9, "bytes/s", PUBLISHED, "ml.p3.16xlarge: network of 25 Gbit/s"),
    "latency": Fact(50e-6, "s", GUESS, "a message over TCP between machines"),
}
# Inputs without which a run would still take time; all others are divided by, or multiply the whole step.
MAY_BE_0 = ("sample_bytes", "cpu_ratio", "storage_growth", "gradient_bytes", "latency")
COUNTS = ("samples", "batch_size")
PUBLISHED_EPOCHS_S = {1: 31000.0, 8: 2400.0, 16: 1300.0}
GPUS_A_MACHINE = 8


@dataclass(frozen=True)
class Row:
    """A run: what the model says beside what was published.

    Attributes:
        gpus: of the run.
        step: the model's.
        predicted_s: an epoch, by the model.
        published_s: an epoch, as published.
    """

    gpus: int
    step: Step
    predicted_s: float
    published_s: float

    @property
    def error(self) -> float:
        """Relative error of the prediction."""
        return self.predicted_s / self.published_s - 1


def changed(facts: Mapping[str, Fact], values: Sequence[tuple[str, str]]) -> dict[str, Fact]:
    """``facts`` with other values.

    Raises:
        InputError: there is no such fact, or the value is no number or out of its range.
    """
    new = dict(facts)
    for name, text in values:
        if name not in facts:
            raise InputError(f"--set {name}: there is no such input; choose one of {', '.join(facts)}.")
        try:
            value = float(text)
        except ValueError as error:
            raise InputError(f"--set {name} '{text}' is not a number; give one in {facts[name].unit}.") from error
        _refuse_out_of_range(name, value, facts[name].unit)
        new[name] = replace(facts[name], value=value, kind=GUESS, source="given by --set")
    return new


def _refuse_out_of_range(name: str, value: float, unit: str) -> None:
    if name in COUNTS and not (value >= 1 and value.is_integer()):
        wanted = "a whole number of 1 or more"
    elif not math.isfinite(value) or value < 0 or (value == 0 and name not in MAY_BE_0):
        wanted = "a finite number of 0 or more" if name in MAY_BE_0 else "a finite number above 0"
    else:
        return
    raise InputError(f"--set {name} {value:g} is out of range; give {wanted} (unit: {unit}).")


def decode_cpu_s(facts: Mapping[str, Fact]) -> float:
    """CPU seconds that the run on one GPU took to decode and transform a case: it waited for nothing else."""
    return facts["epoch_1"].value / facts["samples"].value * facts["workers_1"].value


def predict(gpus: int, facts: Mapping[str, Fact] = FACTS) -> Row:
    """The run on 8 or 16 GPUs, from the one on 1 GPU and facts of the machines.

    Args:
        gpus: a multiple of the 8 of a machine.
        facts: the model's inputs.

    Raises:
        InputError: an input that is divided by is not positive.
    """
    value = {name: fact.value for name, fact in facts.items()}
    machines, batch_size = gpus // GPUS_A_MACHINE, int(value["batch_size"])
    storage = value["storage"] * (1 + value["storage_growth"] * (machines - 1)) / gpus
    cpu_s = decode_cpu_s(facts) * value["cpu_ratio"]
    step = Step(
        data_seconds(batch_size, cpu_s, value["workers_8"], value["sample_bytes"], storage),
        batch_size * value["flop"] / (value["gpu_peak"] * value["gpu_share"]),
        all_reduce_seconds(
            value["gradient_bytes"], gpus, value["link_in" if machines == 1 else "link_between"], value["latency"]
        ),
    )
    return Row(gpus, step, epoch_seconds(step, int(value["samples"]), batch_size, gpus), PUBLISHED_EPOCHS_S[gpus])


def constant_seconds(epochs_s: Mapping[int, float], gpus: int, more_gpus: int) -> float:
    """Seconds of an epoch that no number of GPUs shortens (Amdahl), if that is all that two runs fell short by.

    Solves ``epochs_s[n] = work / n + constant`` for the two.
    """
    work = (epochs_s[gpus] - epochs_s[more_gpus]) / (1 / gpus - 1 / more_gpus)
    return epochs_s[gpus] - work / gpus


def inputs_table(facts: Mapping[str, Fact]) -> str:
    """The inputs: name, value, unit, kind and source, a line each."""
    width = max(map(len, facts))
    return "\n".join(
        f"{name:<{width}}  {fact.value:>9.4g} {fact.unit:<15} {fact.kind:<9}  {fact.source}"
        for name, fact in facts.items()
    )


def prediction_table(facts: Mapping[str, Fact]) -> str:
    """Predicted beside published epochs, and what they tell about scaling."""
    rows = [predict(gpus, facts) for gpus in (8, 16)]
    lines = [f"{'GPUs':>4} {'data s':>8} {'compute s':>10} {'exchange s':>11} {'bound by':>9}"]
    lines[0] += f" {'predicted s/epoch':>18} {'published':>10} {'error':>7}"
    for row in rows:
        step = row.step
        lines.append(
            f"{row.gpus:>4} {step.data_s:>8.2f} {step.compute_s:>10.2f} {step.exchange_s:>11.4f} {step.bound_by:>9}"
            f" {row.predicted_s:>18.0f} {row.published_s:>10.0f} {row.error:>+7.0%}"
        )
    eight, sixteen = rows
    published = PUBLISHED_EPOCHS_S
    efficiency = scaling_efficiency(published[8], 8, published[16], 16)
    added = sixteen.step.exchange_s / (published[8] * 8 * facts["batch_size"].value / facts["samples"].value)
    lines += [
        "",
        f"1 GPU: its epoch is {decode_cpu_s(facts):.2f} CPU s a crop on {facts['workers_1'].value:.0f} workers, which "
        "is the model's CPU cost.",
        f"1 to 8 GPUs: {published[1] / published[8]:.1f} times faster as published, but no figure of scaling: the "
        "decoding was taken out as well.",
        f"8 to 16 GPUs: efficiency {efficiency:.1%} as published. The whole exchange between the machines is "
        f"{added:.2%} of a published step; {constant_seconds(published, 8, 16):.0f} s an epoch that GPUs do not "
        "shorten would explain the rest (a fit, not a prediction).",
        f"The computation alone would take {eight.step.compute_s / eight.step.data_s:.1%} of the predicted step on "
        "8 GPUs.",
    ]
    return "\n".join(lines)
