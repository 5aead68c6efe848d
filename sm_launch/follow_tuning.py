"""The status of a tuning job: of the search, and of each of its trials, which are training jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sm_launch.events import STATUS, TRIAL, Event, Outcome
from sm_launch.follow_jobs import Source, TrainingWatch, Watch

# For so long the log of an ended trial is still read: its last lines come late. One that had ended before it was first
# seen is read for so many looks only: there may be hundreds, and CloudWatch answers a few calls a second.
LINGER_SECONDS, LINGER_LOOKS = 30.0, 3


@dataclass
class _Trial:
    """A trial: how it is looked at, how often it was, and when it was seen to have ended (by the monotonic clock)."""

    watch: TrainingWatch
    looks: int = 0
    ended: float | None = None

    def is_read(self) -> bool:
        """Whether its log is to be read."""
        late = self.ended is not None and time.monotonic() - self.ended > LINGER_SECONDS
        return not late or self.looks <= LINGER_LOOKS


class TuningWatch(Watch):
    """A tuning job."""

    operation, key = "describe_hyper_parameter_tuning_job", "HyperParameterTuningJobName"
    status = "HyperParameterTuningJobStatus"
    group = TrainingWatch.group

    def __init__(self, client: Any, name: str) -> None:
        super().__init__(client, name)
        self.trials: dict[str, _Trial] = {}

    def changes(self) -> Iterator[Event]:
        status, counters = self.answer[self.status], self.answer["TrainingJobStatusCounters"]
        all_trials = self.answer["HyperParameterTuningJobConfig"]["ResourceLimits"].get("MaxNumberOfTrainingJobs")
        text = f"{counters.get('Completed', 0)} of {all_trials or 'any number of'} trials completed"
        failed = counters.get("RetryableError", 0) + counters.get("NonRetryableError", 0)
        if failed:
            text += f", {failed} failed"
        if f"{status} {text}" != self.told:
            self.told = f"{status} {text}"
            yield Event(datetime.now(timezone.utc), self.name, STATUS, status, message=self.reason() or text)
        yield from self._trials()

    def _trials(self) -> Iterator[Event]:
        pages = self.client.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
            HyperParameterTuningJobName=self.name, SortBy="CreationTime", SortOrder="Ascending"
        )
        for summary in (found for page in pages for found in page["TrainingJobSummaries"]):
            name = summary["TrainingJobName"]
            trial = self.trials.setdefault(name, _Trial(TrainingWatch(self.client, name)))
            trial.looks += 1
            if trial.watch.ended:
                continue
            yield from trial.watch.look()
            if trial.watch.ended:
                trial.ended = time.monotonic() if trial.looks > 1 else float("-inf")
                yield self._ended(summary, trial.watch)

    def _ended(self, summary: Mapping[str, Any], watch: TrainingWatch) -> Event:
        outcome = watch.outcome()
        objective = self.answer["HyperParameterTuningJobConfig"].get("HyperParameterTuningJobObjective", {})
        metric = objective.get("MetricName", "")
        drawn = ", ".join(f"{key}={value}" for key, value in sorted(summary["TunedHyperParameters"].items()))
        return Event(
            datetime.now(timezone.utc),
            watch.name,
            TRIAL,
            outcome.status,
            message=outcome.failure or drawn,
            metric=metric,
            value=outcome.metrics.get(metric),
        )

    def sources(self) -> list[Source]:
        read = (trial for trial in self.trials.values() if trial.is_read())
        return [source for trial in read for source in trial.watch.sources()]

    def metric_definitions(self) -> list[Mapping[str, str]]:
        algorithm = self.answer.get("TrainingJobDefinition", {}).get("AlgorithmSpecification", {})
        return algorithm.get("MetricDefinitions", [])

    def outcome(self) -> Outcome:
        ends = [trial.watch.outcome() for trial in self.trials.values() if trial.watch.ended]
        billable = sum(each.billable_seconds or 0 for each in ends)
        ran = sum(each.run_seconds or 0 for each in ends)
        spot = any(each.saving is not None for each in ends) and ran
        best = self.answer.get("BestTrainingJob", {})
        final = best.get("FinalHyperParameterTuningJobObjectiveMetric", {})
        return Outcome(
            self.answer[self.status],
            self.reason(),
            billable,
            ran,
            max(0.0, 1 - billable / ran) if spot else None,
            {final["MetricName"]: final["Value"]} if final else {},
            best.get("TrainingJobName"),
        )
