"""Lab 09: what a case's size and a day's idling mean for the way of serving it, and the exercises about both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sm_launch.cost import HOURS_PER_DAY
from sm_launch.errors import LaunchError
from sm_launch.serving import MB, MODES, check_payload

from .checks import answered, require, right
from .costs import TOLERANCE, price

# Mean of the published data set's pairs of image and label, gzipped: 4.65 GB in 484 pairs.
PUBLISHED_CASE_BYTES = int(9.6 * MB)
WAKES_A_DAY, HOURS_A_WAKE = 2, 0.5


def verdicts(sizes: Mapping[str, int]) -> list[list[str]]:
    """What each mode says to bodies of some sizes, before they are sent.

    Args:
        sizes: name of a body to its bytes.

    Returns:
        A row a mode: its name, and for each body ``takes it`` or the sentence of its refusal.
    """
    return [[mode, *(_verdict(mode, size, name) for name, size in sizes.items())] for mode in MODES]


def takes(mode: str, size: int) -> bool:
    """Whether a mode takes a body of so many bytes."""
    try:
        check_payload(mode, size, "the case")
    except LaunchError:
        return False
    return True


def idle_day(instance_type: str) -> float:
    """USD that a machine of an endpoint costs in a day in which nobody asks it anything."""
    return HOURS_PER_DAY * price(instance_type)


def check_modes(modes: Any, size: int = PUBLISHED_CASE_BYTES) -> None:
    """Exercise: which modes take a case of a size.

    Args:
        modes: set of the modes' names.
        size: of the case in bytes.

    Raises:
        NotYet: there is no answer, or another set takes it.
    """
    chosen = set(answered(modes, "modes"))
    require(chosen <= set(MODES), f"Choose among {', '.join(MODES)}.")
    found = {mode for mode in MODES if takes(mode, size)}
    require(chosen >= found, f"{size / MB:.1f} MB fit into one more. Look at the table of limits again.")
    require(chosen <= found, f"One of yours takes less than {size / MB:.1f} MB. Look at the smallest limit.")
    right(
        "A mean BraTS case fits everywhere but into a serverless request. Older pages give 6 MB for real-time, into "
        "which it would not fit; and 25 MB say nothing of the 60 s, so volumes still go by async."
    )


def check_async_day(dollars: Any, instance_type: str) -> None:
    """Exercise: what a day of an async endpoint costs that wakes twice, for half an hour each.

    Raises:
        NotYet: there is no answer, or it is another sum.
    """
    day = answered(dollars, "async_day")
    require(isinstance(day, int | float) and not isinstance(day, bool), "Write a number of dollars.")
    awake = WAKES_A_DAY * HOURS_A_WAKE * price(instance_type)
    all_day = math.isclose(day, idle_day(instance_type), rel_tol=TOLERANCE)
    require(not all_day, "That is what it costs awake all day. For how many hours has it a machine?")
    require(
        math.isclose(day, awake, rel_tol=TOLERANCE), "Count the hours with a machine, and take the price of one hour."
    )
    right(
        f"{WAKES_A_DAY} x {HOURS_A_WAKE} h x ${price(instance_type)}/h = ${awake:.2f}; a machine that waits all day "
        f"costs ${idle_day(instance_type):.2f}. You pay with minutes of cold start at the first case."
    )


def _verdict(mode: str, size: int, name: str) -> str:
    try:
        check_payload(mode, size, name)
    except LaunchError as error:
        return str(error)
    return "takes it"
