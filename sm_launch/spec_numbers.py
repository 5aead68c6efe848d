"""Numbers of a spec that AWS's API model would take, and that make no sense."""

from __future__ import annotations

import dataclasses
from typing import Any

from sm_launch.errors import LaunchError
from sm_launch.spec import Spec

# What must be at least so much, wherever it occurs in a spec.
LEAST = {
    "instance_count": 1, "processes_per_host": 1, "trials": 1, "parallel": 1, "volume_gb": 1, "keep_alive_minutes": 0,
    "min_instances": 0, "max_instances": 0, "max_concurrency": 1,
}  # fmt: skip
POSITIVE = ("max_hours", "max_wait_hours", "expected_hours", "target_per_instance")


def check_numbers(spec: Spec) -> None:
    """Refuse them.

    Raises:
        LaunchError: one is too small, has no effect, or a job would be stopped before it is expected to end.
    """
    for part in dataclasses.fields(spec):
        section = getattr(spec, part.name)
        if not dataclasses.is_dataclass(section):
            continue
        for field in dataclasses.fields(section):
            _check(f"{part.name}.{field.name}", field.name, getattr(section, field.name))
        _check_hours(part.name, section)
    if spec.train and spec.train.max_wait_hours is not None and not spec.train.spot:
        raise LaunchError(
            f"train.max_wait_hours is {spec.train.max_wait_hours:g}, and only spot training waits; set train.spot to "
            "true, or take it out."
        )


def _check_hours(name: str, section: Any) -> None:
    expected, most = (getattr(section, field, None) for field in ("expected_hours", "max_hours"))
    if expected is not None and most is not None and expected > most:
        raise LaunchError(
            f"{name}.expected_hours is {expected:g}, and {name}.max_hours stops the job at {most:g}; raise max_hours "
            f"to {expected:g} or more."
        )


def _check(path: str, name: str, value: Any) -> None:
    if value is None:
        return
    if name in LEAST and value < LEAST[name]:
        raise LaunchError(f"{path} is {value}; write {LEAST[name]} or more.")
    if name in POSITIVE and value <= 0:
        raise LaunchError(f"{path} is {value:g}; write more than 0.")
