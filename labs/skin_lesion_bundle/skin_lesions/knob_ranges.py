"""What the plain knobs of the configs may be, as one table: a wrong value ends a run before it writes anything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Protocol

from skin_lesions.errors import InputError
from skin_lesions.reading import MIN_SIDE


class Wanted(Protocol):
    """What a knob may be; as text it is the words that follow "give"."""

    def admits(self, value: Any) -> bool:
        """Whether ``value`` is one of those."""


@dataclass(frozen=True)
class Number:
    """A finite number; its bounds belong to the range.

    Attributes:
        such_as: an example for the message.
        least, most: the bounds.
        whole: no fractions.
        above: not ``least`` itself.
        or_none: or None.
    """

    such_as: float
    least: float
    most: float = math.inf
    whole: bool = False
    above: bool = False
    or_none: bool = False

    def admits(self, value: Any) -> bool:
        """Whether ``value`` is a number of that range; True and False are none."""
        if value is None:
            return self.or_none
        if isinstance(value, bool) or not isinstance(value, Integral if self.whole else Real):
            return False
        return math.isfinite(value) and self.least <= value <= self.most and not (self.above and value == self.least)

    def __str__(self) -> str:
        text = "a whole number" if self.whole else "a number"
        if self.above:
            text += f" above {self.least}"
        else:
            text += f" of {self.least} or more" if math.isinf(self.most) else f" from {self.least} to {self.most}"
        return f"{text}, such as {self.such_as:g}" + (", or None (null in JSON)" if self.or_none else "")


@dataclass(frozen=True)
class Word:
    """One of ``words``."""

    words: tuple[str, ...]

    def admits(self, value: Any) -> bool:
        """Whether ``value`` is one of them."""
        return isinstance(value, str) and value in self.words

    def __str__(self) -> str:
        return f"one of {', '.join(self.words)}"


class Switch:
    """On or off. The text 'false', which a command line makes of ``false``, would count as on."""

    def admits(self, value: Any) -> bool:
        """Whether ``value`` is a truth value."""
        return isinstance(value, bool)

    def __str__(self) -> str:
        return "True or False on a command line and in Python, true or false in JSON"


class Shares:
    """Three numbers above 0; that they add up to 1 is asked where the data are split."""

    def admits(self, value: Any) -> bool:
        """Whether ``value`` is a list of such."""
        share = Number(0.5, 0, 1, above=True)
        return isinstance(value, list | tuple) and len(value) == 3 and all(share.admits(each) for each in value)

    def __str__(self) -> str:
        return "a list of 3 shares, of training, validation and test, each above 0, such as [0.7, 0.15, 0.15]"


KNOBS: dict[str, Wanted] = {
    # Below the least side of a picture nothing can be seen, and DenseNet121 halves its input five times.
    "image_size": Number(64, MIN_SIDE, whole=True),
    "stored_side": Number(128, MIN_SIDE, whole=True, or_none=True),
    "split_ratios": Shares(),
    "rotate_degrees": Number(15, 0, 180),
    "epochs": Number(15, 1, whole=True),
    "batch_size": Number(16, 1, whole=True),
    "learning_rate": Number(0.001, 0, above=True),
    "weight_decay": Number(0.01, 0),
    "val_interval": Number(1, 1, whole=True),
    "seed": Number(42, 0, 2**32 - 1, whole=True),
    "deterministic": Switch(),
    "cache_rate": Number(1, 0, 1),
    "num_workers": Number(0, 0, whole=True),
    "backend": Word(("none", "auto", "nccl", "gloo")),
}


def refuse_bad_knob(name: str, value: Any) -> None:
    """Refuse a value that no run can use.

    Args:
        name: of a knob in the table.
        value: what its expression or reference gives.

    Raises:
        InputError: naming the knob, its value and what it may be.
    """
    if not KNOBS[name].admits(value):
        raise InputError(f"{name} is {value!r}; give {KNOBS[name]}.")
