"""Specs for tests: the smallest that is whole, to be changed by keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sm_launch.plan import make_plan
from sm_launch.reading import build
from sm_launch.spec import Spec
from sm_launch.steps import Plan

BUNDLE = Path(__file__).resolve().parents[2] / "bundle"
RUN = "brats-261121120000"
KMS_KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"


def spec_of(**changes: Any) -> Spec:
    """A spec with a training on one GPU; keys replace or add, None takes away."""
    content = {
        "name": "brats",
        "bundle": str(BUNDLE),
        "region": "us-east-1",
        "role": "arn:aws:iam::123456789012:role/SageMaker",
        "bucket": {"name": "brats-bucket"},
        "data": {"source": "s3://brats-bucket/Task01"},
        "train": {"instance_type": "ml.g5.2xlarge"},
        **changes,
    }
    return build({key: value for key, value in content.items() if value is not None})


def plan_of(**changes: Any) -> Plan:
    """Its plan."""
    return make_plan(spec_of(**changes), RUN)


def request_of(plan: Plan, operation: str) -> dict[str, Any]:
    """The request of the one step that asks for ``operation``."""
    (found,) = [step.request for step in plan.steps if step.operation == operation]
    return dict(found)
