"""Autoscaling of an endpoint: by requests for a real-time one, by the queue, down to no machine, for an async one.

Two policies make scale to zero work (docs, "Autoscale an asynchronous endpoint"): target tracking on the backlog a
machine, which is not defined while there are none, and a step policy whose alarm sees a backlog without a machine.
Untested on AWS.
"""

from __future__ import annotations

from typing import Any

from sm_launch.serving import ASYNC, VARIANT, Serving
from sm_launch.steps import Step

SERVICE = "application-autoscaling"
NAMESPACE, DIMENSION = "sagemaker", "sagemaker:variant:DesiredInstanceCount"
METRICS = "AWS/SageMaker"
BACKLOG, WAITING = "ApproximateBacklogSizePerInstance", "HasBacklogWithoutCapacity"
# Seconds between two changes. A machine takes minutes to start, and one that is idle for ten is not needed.
OUT_COOLDOWN_S, IN_COOLDOWN_S = 300, 600
ALARM_PERIOD_S, ALARM_PERIODS = 60, 2


def policy_arn(policy_name: str) -> str:
    """Stands in a request for the PolicyARN that PutScalingPolicy answers; AWS puts a random part into it."""
    return f"{{policy:{policy_name}}}"


def scaling_steps(serving: Serving) -> list[Step]:
    """Register the endpoint's machines, and its policies.

    Deleting the endpoint deregisters the target, which deletes its policies (docs, "Delete endpoints configured for
    auto scaling"); only the alarm stays and must be deleted by name.
    """
    register = {
        **_target(serving),
        "MinCapacity": serving.min_instances,
        "MaxCapacity": serving.max_instances,
    }
    steps = [
        Step(SERVICE, "RegisterScalableTarget", register, name=serving.endpoint_name),
        Step(SERVICE, "PutScalingPolicy", tracking_policy(serving), name=tracking_name(serving)),
    ]
    if serving.mode == ASYNC and serving.min_instances == 0:
        steps += [
            Step(SERVICE, "PutScalingPolicy", waking_policy(serving), name=waking_name(serving)),
            Step("cloudwatch", "PutMetricAlarm", waking_alarm(serving), "alarm", waking_name(serving)),
        ]
    return steps


def tracking_name(serving: Serving) -> str:
    """Name of the policy that follows the load."""
    return f"{serving.run}-load"


def waking_name(serving: Serving) -> str:
    """Name of the policy that starts a first machine, and of its alarm."""
    return f"{serving.run}-wake"


def tracking_policy(serving: Serving) -> dict[str, Any]:
    """PutScalingPolicy: as many machines as the load needs."""
    configuration: dict[str, Any] = {
        "TargetValue": serving.target_per_instance,
        "ScaleInCooldown": IN_COOLDOWN_S,
        "ScaleOutCooldown": OUT_COOLDOWN_S,
    }
    if serving.mode == ASYNC:
        configuration["CustomizedMetricSpecification"] = {
            "MetricName": BACKLOG,
            "Namespace": METRICS,
            "Dimensions": _dimensions(serving),
            "Statistic": "Average",
        }
    else:
        configuration["PredefinedMetricSpecification"] = {
            "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
        }
    return {
        "PolicyName": tracking_name(serving),
        **_target(serving),
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": configuration,
    }


def waking_policy(serving: Serving) -> dict[str, Any]:
    """PutScalingPolicy: one machine for a queue that has none."""
    return {
        "PolicyName": waking_name(serving),
        **_target(serving),
        "PolicyType": "StepScaling",
        "StepScalingPolicyConfiguration": {
            "AdjustmentType": "ChangeInCapacity",
            "MetricAggregationType": "Average",
            "Cooldown": OUT_COOLDOWN_S,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
        },
    }


def waking_alarm(serving: Serving) -> dict[str, Any]:
    """PutMetricAlarm: requests wait and no machine is there."""
    return {
        "AlarmName": waking_name(serving),
        "MetricName": WAITING,
        "Namespace": METRICS,
        "Dimensions": _dimensions(serving),
        "Statistic": "Average",
        "Period": ALARM_PERIOD_S,
        "EvaluationPeriods": ALARM_PERIODS,
        "DatapointsToAlarm": ALARM_PERIODS,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "missing",
        "AlarmActions": [policy_arn(waking_name(serving))],
        "Tags": serving.tag_list(),
    }


def _target(serving: Serving) -> dict[str, Any]:
    return {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": f"endpoint/{serving.endpoint_name}/variant/{VARIANT}",
        "ScalableDimension": DIMENSION,
    }


def _dimensions(serving: Serving) -> list[dict[str, str]]:
    return [{"Name": "EndpointName", "Value": serving.endpoint_name}]
