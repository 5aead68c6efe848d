"""The nodes of a job, from their start to the end of the last one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sm_launch.local.isolation import Isolation
from sm_launch.local.journal import Journal
from sm_launch.local.nodes import Node, NodePlan

POLL_SECONDS = 0.05
# How long the others have after one node failed, in seconds.
FAILURE_GRACE = 30.0


@dataclass
class Outcome:
    """How a group ended.

    Attributes:
        codes: exit status by node's name.
        first_failed: the node that failed before any other; empty where none did.
        cause: what ended it: empty for its own end, else the name of the condition that came true.
        seconds: how long it ran.
    """

    codes: dict[str, int] = field(default_factory=dict)
    first_failed: str = ""
    cause: str = ""
    seconds: float = 0.0


def run_group(
    plans: Sequence[NodePlan],
    isolation: Isolation,
    journal: Journal,
    conditions: dict[str, Callable[[], bool]],
    kill_after: float,
    on_condition: Callable[[str], None],
) -> Outcome:
    """Start all nodes and wait for all of them. One that fails takes the others with it, as on SageMaker.

    Args:
        plans: the nodes.
        isolation: of the job.
        journal: gets their lines.
        conditions: looked at all the time, by name; the first that is true ends the group by SIGTERM.
        kill_after: seconds from SIGTERM to SIGKILL.
        on_condition: called with the name of a condition once it is true, before the signal.
    """
    begun = time.monotonic()
    outcome = Outcome()
    nodes: list[Node] = []
    deadline = float("inf")
    try:
        for plan in plans:
            nodes.append(Node(plan, isolation, lambda line, name=plan.name: journal.line(name, line)))
        while True:
            for node in nodes:
                name, code = node.plan.name, node.poll()
                if code is None or name in outcome.codes:
                    continue
                outcome.codes[name] = code
                if code != 0 and not outcome.first_failed and not outcome.cause:
                    outcome.first_failed = name
                    deadline = min(deadline, _terminate(nodes, min(kill_after, FAILURE_GRACE)))
            if len(outcome.codes) == len(nodes):
                break
            if not outcome.cause and not outcome.first_failed:
                outcome.cause = next((name for name, is_true in conditions.items() if is_true()), "")
                if outcome.cause:
                    on_condition(outcome.cause)
                    deadline = _terminate(nodes, kill_after)
            if time.monotonic() > deadline:
                for node in nodes:
                    node.kill()
                deadline = float("inf")
            time.sleep(POLL_SECONDS)
    finally:
        for node in nodes:
            node.close()
    outcome.seconds = time.monotonic() - begun
    return outcome


def _terminate(nodes: Sequence[Node], kill_after: float) -> float:
    for node in nodes:
        node.terminate()
    return time.monotonic() + kill_after


def is_set(event: threading.Event | None) -> Callable[[], bool]:
    """A condition: whether an event that may be None is set."""
    return lambda: event is not None and event.is_set()
