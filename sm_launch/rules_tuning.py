"""Rules of tuning: its objective, how many trials at once, and what does not go together with trials."""

from __future__ import annotations

from collections.abc import Iterator

from sm_launch.rules_training import keep_alive
from sm_launch.steps import Plan
from sm_launch.views import CREATE_TUNING, of, trainings


def tuning_objective(plan: Plan) -> Iterator[str]:
    """The objective of a tuning is among the metrics that its trials report."""
    for training in trainings(plan):
        objective = training.request.get("TuningObjective") or training.step.request.get(
            "HyperParameterTuningJobConfig", {}
        ).get("HyperParameterTuningJobObjective", {})
        metrics = training.request.get("AlgorithmSpecification", {}).get("MetricDefinitions", ())
        wanted = objective.get("MetricName")
        if training.step.operation == CREATE_TUNING and wanted and wanted not in [one.get("Name") for one in metrics]:
            yield (
                f"{training.step.name}: the objective {wanted!r} is not among "
                f"{training.path}AlgorithmSpecification.MetricDefinitions, and AWS would find no value to compare; "
                f"define it."
            )


def tuning_parallel(plan: Plan) -> Iterator[str]:
    """A tuning runs no more trials at once than it runs in all (API reference, ResourceLimits)."""
    for step in of(plan, CREATE_TUNING):
        limits = step.request.get("HyperParameterTuningJobConfig", {}).get("ResourceLimits", {})
        parallel, total = limits.get("MaxParallelTrainingJobs", 1), limits.get("MaxNumberOfTrainingJobs")
        if total is not None and parallel > total:
            yield (
                f"{step.name}: ResourceLimits.MaxParallelTrainingJobs is {parallel}, and AWS takes at most "
                f"MaxNumberOfTrainingJobs, {total}; lower it."
            )


def hyperband_stopping(plan: Plan) -> Iterator[str]:
    """Hyperband stops trials itself, so early stopping stays off (docs, "Stop Training Jobs Early")."""
    for step in of(plan, CREATE_TUNING):
        config = step.request.get("HyperParameterTuningJobConfig", {})
        if config.get("Strategy") == "Hyperband" and config.get("TrainingJobEarlyStoppingType", "Off") != "Off":
            yield (
                f"{step.name}: TrainingJobEarlyStoppingType is {config['TrainingJobEarlyStoppingType']!r} with the "
                f"Hyperband strategy, which stops trials itself; set it to 'Off'."
            )


def tuning_warm_pool(plan: Plan) -> Iterator[str]:
    """Trials keep no warm pool: each would leave one of its own, and only a training's is given back by ``down``."""
    for training in trainings(plan):
        if training.step.operation == CREATE_TUNING and keep_alive(training):
            yield (
                f"{training.step.name}: {training.path}ResourceConfig.KeepAlivePeriodInSeconds is "
                f"{keep_alive(training)}, and each trial would leave machines that are billed and that 'down' does not "
                f"give back; set train.keep_alive_minutes to 0 for a tuning."
            )
