"""How long an epoch takes on how many GPUs: a model of data wait, computation and communication.

A step of every GPU is made of

- data wait: samples come as fast as the worker processes prepare them, or as storage delivers them, the slower of both;
- computation: forward and backward pass of its samples;
- communication: a ring all-reduce of the gradients, 2 (n - 1) / n S / B + 2 (n - 1) L seconds for S bytes among n
  processes over links of B bytes/s and L s latency (Patarasuk and Yuan, J. Parallel Distrib. Comput. 69, 2009; latency
  term as in Thakur, Rabenseifner and Gropp, IJHPCA 19, 2005). It hides behind the backward pass, which is where PyTorch
  starts it (Li et al., VLDB 13, 2020), as far as that lasts.

Worker processes prepare the next batch during the computation, so the step takes the longer of data and the rest.

``python -m scripts.scaling`` sets it beside the published runs; :mod:`scripts.scaling_published` holds their figures.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.errors import InputError, one_sentence

# Of the time of forward and backward pass; the backward pass makes two products for each of the forward pass.
BACKWARD_SHARE = 2 / 3


@dataclass(frozen=True)
class Step:
    """Seconds of one step of every GPU.

    Attributes:
        data_s: until its samples are there, if nothing else were done.
        compute_s: forward and backward pass.
        exchange_s: all-reduce of the gradients, from start to end.
        waits_for_data: nothing is prepared during the computation (``num_workers`` 0).
    """

    data_s: float
    compute_s: float
    exchange_s: float
    waits_for_data: bool = False

    @property
    def exposed_s(self) -> float:
        """The part of the exchange that outlasts the backward pass."""
        return max(0.0, self.exchange_s - BACKWARD_SHARE * self.compute_s)

    @property
    def seconds(self) -> float:
        """The whole step."""
        busy = self.compute_s + self.exposed_s
        return self.data_s + busy if self.waits_for_data else max(self.data_s, busy)

    @property
    def bound_by(self) -> str:
        """The part that takes longest: ``data``, ``compute`` or ``exchange``."""
        parts = {"data": self.data_s, "compute": self.compute_s, "exchange": self.exposed_s}
        return max(parts, key=lambda name: parts[name])


def data_seconds(
    samples: int, cpu_s: float, workers: float, sample_bytes: float = 0.0, bytes_per_s: float = float("inf")
) -> float:
    """Seconds until ``samples`` samples are there.

    Args:
        samples: of one GPU.
        cpu_s: CPU seconds that prepare one.
        workers: cores that prepare them, for this GPU; the smaller of worker processes and cores it has.
        sample_bytes: read from storage for one.
        bytes_per_s: what storage delivers to this GPU.

    Raises:
        InputError: ``workers`` or ``bytes_per_s`` is not positive.
    """
    _positive("workers", workers)
    _positive("bytes_per_s", bytes_per_s)
    return samples * max(cpu_s / workers, sample_bytes / bytes_per_s)


def all_reduce_seconds(gradient_bytes: float, processes: int, bytes_per_s: float, latency_s: float) -> float:
    """Seconds of a ring all-reduce; 0 for one process.

    Args:
        gradient_bytes: of one process.
        processes: in the ring.
        bytes_per_s: of its slowest link. Between machines that is a machine's network: the ring enters it once.
        latency_s: of a message over that link.

    Raises:
        InputError: ``processes`` or ``bytes_per_s`` is not positive.
    """
    _positive("processes", processes)
    _positive("bytes_per_s", bytes_per_s)
    rounds = 2 * (processes - 1)
    return rounds / processes * gradient_bytes / bytes_per_s + rounds * latency_s


def epoch_seconds(step: Step, samples: int, batch_size: int, gpus: int) -> float:
    """Seconds of an epoch of ``samples`` samples with ``batch_size`` samples a step and GPU."""
    return samples / (batch_size * gpus) * step.seconds


def scaling_efficiency(seconds: float, gpus: int, more_seconds: float, more_gpus: int) -> float:
    """Speed-up over ratio of GPUs, for the same work: 1 where twice the GPUs take half the time.

    Args:
        seconds: with ``gpus`` GPUs.
        gpus: the smaller number.
        more_seconds: with ``more_gpus`` GPUs.
        more_gpus: the larger number.

    Raises:
        InputError: a number is not positive.
    """
    values = {"seconds": seconds, "gpus": gpus, "more_seconds": more_seconds, "more_gpus": more_gpus}
    for name, value in values.items():
        _positive(name, value)
    return (seconds / more_seconds) / (more_gpus / gpus)


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise InputError(f"{name} is {value}; it must be more than 0.")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the model's inputs, and its epochs beside the published ones."""
    # Imported here: the figures are laid out with the functions above.
    from scripts import scaling_published as published

    parser = argparse.ArgumentParser(
        prog="python -m scripts.scaling",
        description="Predict the published 8 and 16 GPU runs from the published run on one GPU.",
    )
    parser.add_argument(
        "--set",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="try another value of an input, by its name in the table; may be given again",
    )
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")

    def command() -> int:
        facts = published.changed(published.FACTS, options.set)
        print(published.inputs_table(facts))
        print()
        print(published.prediction_table(facts))
        return 0

    return one_sentence(command)


if __name__ == "__main__":
    sys.exit(main())
