"""Regular expressions by which SageMaker reads figures off the log of a training, and reading as it does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

_NUMBER = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"

# Each takes the line of this project's bundle, "epoch 3/30  loss 0.4123  Dice 0.7134 (TC ...", and the lines of MONAI's
# StatsHandler, "Epoch: 3/30, Iter: 1/8 -- train_loss: 0.4123" and "Epoch[3] Metrics -- val_mean_dice: 0.7134".
DEFAULT_METRICS = {
    "train_loss": rf"(?:train_loss: |  loss ){_NUMBER}",
    "val_mean_dice": rf"(?:val_mean_dice: |  Dice ){_NUMBER}",
}


class MetricFinder:
    """Values of metrics in log lines, by a job's MetricDefinitions.

    Args:
        definitions: with Name and Regex; the first group is the value. One with a ``problem`` finds nothing.
    """

    def __init__(self, definitions: Sequence[Mapping[str, str]]) -> None:
        sound = [one for one in definitions if problem(one) is None]
        self.patterns = [(one["Name"], re.compile(one["Regex"])) for one in sound]

    def find(self, line: str) -> Iterator[tuple[str, float]]:
        """Names and values in a line; what is no number is passed over, as SageMaker does."""
        for name, pattern in self.patterns:
            for found in pattern.finditer(line):
                try:
                    yield name, float(found.group(1))
                except (ValueError, TypeError):
                    continue


def problem(definition: Mapping[str, str]) -> str | None:
    """Why a definition finds nothing, as a sentence; None if it may."""
    name, text = definition["Name"], definition["Regex"]
    try:
        groups = re.compile(text).groups
    except re.error as error:
        return f"metric '{name}': '{text}' is no regular expression ({error}); mend it."
    return None if groups else f"metric '{name}': '{text}' has no group; put the number in brackets."
