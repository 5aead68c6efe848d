"""What the plain knobs of the configs may be, as one table, so that a wrong value ends a run before it writes anything.

Most knobs are asked about again by the object that they are for, which may be used alone; but those objects are built
when the run folder is there, and some only notice after epochs. What depends on the data, the device or the network
stays theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Protocol

from scripts.errors import InputError
from scripts.labels import REGIONS

# Longest value, in characters, that is shown in a message.
SHOWN = 60


class Wanted(Protocol):
    """What a knob may be; as text it is the words that follow "give"."""

    def admits(self, value: Any) -> bool:
        """Whether ``value`` is one of those."""


@dataclass(frozen=True)
class Number:
    """A finite number; bounds belong to the range unless ``above`` or ``below`` says otherwise.

    Attributes:
        such_as: an example for the message.
        least, most: the bounds.
        whole: no fractions.
        above: not ``least`` itself.
        below: not ``most`` itself.
    """

    such_as: float | None = None
    least: float = -math.inf
    most: float = math.inf
    whole: bool = False
    above: bool = False
    below: bool = False

    def admits(self, value: Any) -> bool:
        """Whether ``value`` is a number of that range; True and False are none."""
        if isinstance(value, bool) or not isinstance(value, Integral if self.whole else Real):
            return False
        if not math.isfinite(value) or not self.least <= value <= self.most:
            return False
        return not (self.above and value == self.least) and not (self.below and value == self.most)

    def __str__(self) -> str:
        text = "a whole number" if self.whole else "a number"
        least, most = (f"{bound:.10g}" for bound in (self.least, self.most))
        if self.above:
            text += f" above {least}" + (f" and up to {most}" if math.isfinite(self.most) else "")
        elif math.isfinite(self.most):
            text += f" from {least} {'up to, not including,' if self.below else 'to'} {most}"
        elif math.isfinite(self.least):
            text += f" of {least} or more"
        return text if self.such_as is None else f"{text}, such as {self.such_as:g}"


@dataclass(frozen=True)
class Switch:
    """On or off. The text 'false', which a command line makes of ``false``, would count as on."""

    def admits(self, value: Any) -> bool:
        """Whether ``value`` is a truth value."""
        return isinstance(value, bool)

    def __str__(self) -> str:
        return "True or False on a command line and in Python, true or false in JSON"


@dataclass(frozen=True)
class Word:
    """A text.

    Attributes:
        words: those that are known; none where it is a name or a path.
        meaning: what to give then.
    """

    words: tuple[str, ...] = ()
    meaning: str = "a text"

    def admits(self, value: Any) -> bool:
        """Whether ``value`` is such a text."""
        return isinstance(value, str) and (not self.words or value in self.words)

    def __str__(self) -> str:
        return f"one of {', '.join(self.words)}" if self.words else self.meaning


@dataclass(frozen=True)
class Many:
    """A list of ``each``.

    Attributes:
        each: what an entry may be.
        such_as: an example for the message.
        count: how many there are; None takes any number from ``least`` on.
        least: the fewest where there is no ``count``.
    """

    each: Wanted
    such_as: str
    count: int | None = None
    least: int = 0

    def admits(self, value: Any) -> bool:
        """Whether ``value`` is such a list."""
        return (
            isinstance(value, list | tuple)
            and (len(value) >= self.least if self.count is None else len(value) == self.count)
            and all(self.each.admits(entry) for entry in value)
        )

    def __str__(self) -> str:
        return f"a list{'' if self.count is None else f' of {self.count}'}, each {self.each}, such as {self.such_as}"


SHARE = Number(0.5, 0, 1)
SIZES = Many(Number(None, 1, whole=True), "[64, 64, 64]", 3)
SWITCH = Switch()

KNOBS: dict[str, Wanted] = {
    # Data.
    "split_ratios": Many(SHARE, "[0.7, 0.15, 0.15]", 3),
    "skip_bad_cases": SWITCH,
    "missing_modalities": Word(("refuse", "blank")),
    "modalities": Many(Word(), "['FLAIR', 'T1w', 'T1gd', 'T2w']", least=1),
    "regions": Many(Word(REGIONS), "['TC', 'WT', 'ET']", least=1),
    "spacing": Many(Number(None, 0), "[2.0, 2.0, 2.0]", 3),
    "reshape": SIZES,
    "intensity_window": Many(Number(), "[-100.0, 500.0]", 2),
    "cache_rate": SHARE,
    "replace_rate": Number(0.2, 0, 1, above=True),
    "num_workers": Number(4, 0, whole=True),
    "batches_ahead": Number(2, 1, whole=True),
    # Patches.
    "patch_size": SIZES,
    "window_size": SIZES,
    "size_multiple": Number(16, 1, whole=True),
    "crops_per_case": Number(2, 1, whole=True),
    "tumour_crops": SHARE,
    "rotate_prob": SHARE,
    "scale_prob": SHARE,
    "gain": Number(0.1, 0, 1),
    "shift": Number(0.1, 0),
    "noise_prob": SHARE,
    "blur_prob": SHARE,
    "brightness_prob": SHARE,
    "contrast_prob": SHARE,
    "low_resolution_prob": SHARE,
    "inverted_gamma_prob": SHARE,
    "gamma_prob": SHARE,
    "modality_dropout_prob": SHARE,
    "modality_dropout_most": Number(1, 1, whole=True),
    # Training.
    "deep_supervision": Number(2, 0, whole=True),
    "epochs": Number(30, 1, whole=True),
    "batch_size": Number(2, 1, whole=True),
    "learning_rate": Number(0.002, 0, above=True),
    "scale_learning_rate": Word(("none", "linear", "sqrt")),
    "schedule": Word(("cosine", "poly")),
    "warmup_epochs": Number(2, 0, whole=True),
    "weight_decay": Number(1e-5, 0),
    "squared_dice": SWITCH,
    "bce_weight": Number(1, 0),
    "accumulation_steps": Number(1, 1, whole=True),
    "clip_grad_norm": Number(12, 0),
    "ema_decay": Number(0.999, 0, 1, below=True),
    "val_interval": Number(5, 1, whole=True),
    "image_interval": Number(10, 0, whole=True),
    "seed": Number(42, 0, 2**32 - 1, whole=True),
    "deterministic": SWITCH,
    "precision": Word(("fp32", "bf16", "fp16")),
    "compile": SWITCH,
    "mlflow_log_model": SWITCH,
    "wandb_log_model": SWITCH,
    # Whole volumes.
    "inference_mode": Word(("brain_box", "sliding_window")),
    "one_pass_ratio": Number(1, 1),
    "window_overlap": Number(0.25, 0, 1, below=True),
    "tta_axes": Many(Number(None, 0, 2, whole=True), "[0, 1, 2], or [] for none"),
    "postprocessing_rules": Word(meaning="none, tuned, or the path of a rules file"),
    "save_probabilities": SWITCH,
    "save_uncertainty": SWITCH,
}


def refuse_bad_knobs(values: Mapping[str, Any]) -> None:
    """Refuse values that no run can use.

    Args:
        values: knobs with the values that expressions and references gave. Those that are not in the table are not
            looked at.

    Raises:
        InputError: naming the knob, its value and what it may be; several of them in as many lines.
    """
    wrong = [*_out_of_range(values), *_misfits(values)]
    if wrong:
        raise InputError("\n".join(wrong))


def _out_of_range(values: Mapping[str, Any]) -> Iterator[str]:
    for name, wanted in KNOBS.items():
        if name in values and not wanted.admits(values[name]):
            yield f"{name} is {_shown(values[name])}; give {wanted}."


def _misfits(values: Mapping[str, Any]) -> Iterator[str]:
    """What is right by itself but not together."""
    multiple = values.get("size_multiple")
    if not KNOBS["size_multiple"].admits(multiple):
        return
    for name in ("patch_size", "window_size"):
        sides = values.get(name)
        if SIZES.admits(sides) and any(side % multiple for side in sides):
            yield (
                f"{name} is {_shown(sides)}; give sides that are multiples of size_multiple, {multiple}, or set "
                "size_multiple to the total stride of the network."
            )


def _shown(value: Any) -> str:
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
