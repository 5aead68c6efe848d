"""Metrics as SageMaker finds them: by regular expressions over the lines of the log."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from sm_launch.errors import LaunchError
from sm_launch.local.results import Metric


class MetricFinder:
    """Keeps each metric's last value.

    Args:
        definitions: MetricDefinitions: Name and Regex, whose first group is the number.

    Raises:
        LaunchError: an expression is broken or has no group.
    """

    def __init__(self, definitions: Sequence[Mapping[str, str]]) -> None:
        self._last: dict[str, Metric] = {}
        self._expressions: list[tuple[str, re.Pattern[str]]] = []
        for definition in definitions:
            name, text = definition["Name"], definition["Regex"]
            try:
                expression = re.compile(text)
            except re.error as error:
                raise LaunchError(f"metric '{name}': '{text}' is no regular expression ({error}); mend it.") from error
            if expression.groups < 1:
                raise LaunchError(f"metric '{name}': '{text}' has no group; put the number in brackets.")
            self._expressions.append((name, expression))

    def read(self, line: str, time: datetime) -> None:
        """Look for metrics in a line of any node's log."""
        for name, expression in self._expressions:
            match = expression.search(line)
            if match is None:
                continue
            try:
                self._last[name] = Metric(name, float(match.group(1)), time)
            except ValueError:
                # SageMaker, too, passes over what is no number.
                continue

    def last(self) -> tuple[Metric, ...]:
        """FinalMetricDataList."""
        return tuple(self._last.values())
