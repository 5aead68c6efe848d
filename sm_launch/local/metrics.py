"""The last value of each metric in a job's log, as SageMaker keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sm_launch.errors import LaunchError
from sm_launch.local.results import Metric
from sm_launch.metrics import MetricFinder, problem


class LastMetrics:
    """Keeps each metric's last value.

    Args:
        definitions: MetricDefinitions: Name and Regex, whose first group is the number.

    Raises:
        LaunchError: an expression is broken or has no group.
    """

    def __init__(self, definitions: Sequence[Mapping[str, str]]) -> None:
        for definition in definitions:
            if sentence := problem(definition):
                raise LaunchError(sentence)
        self._finder = MetricFinder(definitions)
        self._last: dict[str, Metric] = {}

    def read(self, line: str, time: datetime) -> None:
        """Look for metrics in a line of any node's log."""
        for name, value in self._finder.find(line):
            self._last[name] = Metric(name, value, time)

    def last(self) -> tuple[Metric, ...]:
        """FinalMetricDataList."""
        return tuple(self._last.values())
