"""Sentences and checks that the calls of profile phi share."""

from __future__ import annotations

from collections.abc import Iterator

from sm_launch.steps import Plan, Step


def missing(step: Step, path: str, remedy: str) -> str:
    """The sentence for a protection that a step lacks."""
    return f"{step.name}: {path} is what protects patient data in {step.operation}, and it is missing or off; {remedy}."


def need_key(step: Step, path: str, key: object) -> Iterator[str]:
    """A violation where ``key``, the member at ``path``, is absent or empty."""
    if not key:
        yield missing(step, path, "give your KMS key")


def ours(plan: Plan, step: Step, path: str, uri: str | None) -> Iterator[str]:
    """What a job writes goes to the run's own bucket, whose encryption and access the plan or apply has seen."""
    if uri is not None and not uri.startswith(f"s3://{plan.bucket}/"):
        yield (
            f"{step.name}: {path} lies outside the run's bucket, whose encryption and access are checked; write to "
            f"s3://{plan.bucket}/."
        )
