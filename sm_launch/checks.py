"""Whether a plan may be carried out: AWS's own API model, our rules, and the guard of patient data, all offline."""

from __future__ import annotations

from sm_launch import api_model, phi, rules
from sm_launch.errors import LaunchError
from sm_launch.frame import PHI
from sm_launch.steps import Plan


def problems(plan: Plan) -> list[str]:
    """A sentence for everything that is wrong with a plan; empty if it may be carried out."""
    found = api_model.validate_plan(plan) + rules.check(plan)
    if plan.profile == PHI:
        found += phi.check(plan)
    return found


def refuse(plan: Plan) -> None:
    """Stop on a plan that may not be carried out.

    Raises:
        LaunchError: something is wrong; several problems are a line each.
    """
    found = problems(plan)
    if len(found) == 1:
        raise LaunchError(found[0])
    if found:
        raise LaunchError("\n  ".join([f"the plan has {len(found)} problems; mend the spec:", *found]))
