"""Check cells of lab 04."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from .checks import called, require, right
from .copies import in_both, replicated, split_by_patient


def check_deal(deal: Callable[[list[Any], int], Sequence[Sequence[Any]]]) -> None:
    """A function that deals cases to machines."""
    for count, machines in ((484, 2), (5, 4), (484, 20), (3, 5)):
        cases = [f"case{number}" for number in range(count)]
        shares = called(deal, list(cases), machines)
        require(
            isinstance(shares, Sequence) and len(shares) == machines,
            f"for {count} cases and {machines} machines, return a list of {machines} lists, one a machine.",
        )
        dealt = Counter(case for share in shares for case in share)
        twice = sum(times > 1 for times in dealt.values())
        require(not twice, f"{count} cases on {machines} machines: {twice} cases are dealt more than once.")
        require(len(dealt) == count, f"{count} cases on {machines} machines: {count - len(dealt)} are dealt to nobody.")
        sizes = [len(share) for share in shares]
        require(
            max(sizes) - min(sizes) <= 1,
            f"{count} cases on {machines} machines: one gets {max(sizes)}, another {min(sizes)}; who waits?",
        )
    right("Every case once, and no machine has two more than another; a slice with a step cannot miss the rest.")


def check_slowest(slowest: Callable[[int, int], int]) -> None:
    """A function from cases and machines to the cases of the busiest machine."""
    result = called(slowest, 5, 4)
    require(result != 5 / 4, "a machine takes whole cases: nobody can prepare a quarter of one.")
    require(result != 1, "with one case on each of four machines, where is the fifth?")
    require(result == 2, f"five cases on four machines: somebody has more than one. You say {result}.")
    require(called(slowest, 484, 4) == 121, "484 cases are four equal shares of 121.")
    require(called(slowest, 484, 20) == 25, "484 cases on 20 machines: some have 24, and the job waits for the others.")
    right("It is cases / machines, rounded up. The job lasts as long as the machine with most cases.")


def check_leak(leaking: Callable[[list[str], list[str]], int]) -> None:
    """A function that counts the patients that are on both sides of a split."""
    training = ["A_copy001", "A_copy002", "B_copy001"]
    result = called(leaking, training, ["A_copy003", "C_copy001"])
    require(result != 0, "A_copy003 is validated on; is patient A trained on? Compare patients, not file names.")
    require(result == 1, f"one patient, A, is on both sides; you count {result}.")
    require(
        called(leaking, training, ["A_copy003", "A_copy004"]) == 1,
        "two copies of A are still one patient: count patients.",
    )
    require(called(leaking, *split_by_patient(replicated(20, 3))) == 0, "a split by patient has nobody on both sides.")
    require(
        in_both(training, ["C_copy001"]) == called(leaking, training, ["C_copy001"]),
        "patient C is in validation only.",
    )
    right("Compare who the files belong to. This line belongs into every project's tests.")
