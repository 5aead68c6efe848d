"""The status of a tuning job: of the search, and of each of its trials, which are training jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sm_launch.events import STATUS, TRIAL, Event, Outcome
from sm_launch.follow_jobs import Source, TrainingWatch, Watch

# Looks for which the log of an ended trial is still read: its last lines may come late.
LINGERS = 3


@dataclass
class _Trial:
    """A trial: how it is looked at, and for how many looks its log is still read once it has ended."""

    watch: TrainingWatch
    lingers: int = LINGERS


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
            if trial.watch.ended:
                trial.lingers -= 1
                continue
            yield from trial.watch.look()
            if trial.watch.ended:
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
        live = (trial for trial in self.trials.values() if trial.lingers > 0)
        return [source for trial in live for source in trial.watch.sources()]

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
