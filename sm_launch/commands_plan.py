"""Commands that change nothing: plan, policy and quotas."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime, timezone
from typing import Any

from sm_launch.frame import account_of
from sm_launch.steps import Plan


def planned(options: argparse.Namespace) -> Plan:
    """The plan of a command line, checked.

    Raises:
        LaunchError: the spec is wrong, or its plan may not be carried out.
    """
    from sm_launch.checks import refuse
    from sm_launch.plan import make_plan, new_run
    from sm_launch.reading import read

    spec = read(options.spec, options.set)
    run = options.run_id or new_run(spec, datetime.now(timezone.utc))
    plan = make_plan(spec, run, [job for job in options.jobs.split(",") if job])
    refuse(plan)
    return plan


def show_plan(options: argparse.Namespace) -> None:
    """``plan``."""
    from sm_launch import render

    plan = planned(options)
    if options.json:
        sys.stdout.write(json.dumps(render.content(plan) | {"policies": policies(plan)}, indent=2) + "\n")
    else:
        sys.stdout.write(render.text(plan, estimate(plan, options)) + "\n")


def show_policy(options: argparse.Namespace) -> None:
    """``policy``; why an action is allowed on every resource is told beside the documents."""
    from sm_launch import policy

    found = policies(planned(options))
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    for name in ("caller", "role"):
        for part in found[name]:
            sys.stderr.writelines(f"{name}: {sentence}\n" for sentence in policy.unrestricted(part))


def show_quotas(options: argparse.Namespace) -> int:
    """``quotas``; 1 if one is too low."""
    from sm_launch import aws, quotas

    plan = planned(options)
    session = aws.open_session(plan.region, options.aws_profile)
    wanted = quotas.needed(plan)
    problems = quotas.check(wanted, aws.client(session, "service-quotas"), plan.region)
    for name, count in wanted.items():
        sys.stdout.write(f"{count:>4}  {name}\n")
    for problem in problems:
        sys.stdout.write(f"{problem}\n")
    return 1 if problems else 0


def policies(plan: Plan) -> dict[str, Any]:
    """The IAM documents of a plan: policies as the parts that IAM takes, and who may take the roles."""
    from sm_launch import policy

    account = account_of(plan.role)
    found = {
        "caller": policy.parts(policy.caller_policy(plan, account)),
        "role": policy.parts(policy.role_policy(plan, account)),
        "role_trust": policy.trust_policy(plan, account),
    }
    if any(step.service == policy.CODEBUILD for step in plan.steps):
        found["build_role"] = policy.parts(policy.build_policy(plan, account))
        found["build_role_trust"] = policy.trust_policy(plan, account, policy.CODEBUILD)
    return found


def estimate(plan: Plan, options: argparse.Namespace) -> Any:
    """Cost of a plan, by the dated table or, where asked for, by AWS's own list."""
    from sm_launch import aws
    from sm_launch.cost import Hours
    from sm_launch.cost import estimate as cost_of
    from sm_launch.prices import LivePrices

    expected = {
        step.name: Hours(step.expected_hours, step.expected_hours) for step in plan.steps if step.expected_hours
    }
    if not getattr(options, "live_prices", False):
        return cost_of(plan, expected)
    # The Price List service has endpoints in few regions (AWS Billing User Guide, "Using the AWS Price List API").
    session = aws.open_session("us-east-1", options.aws_profile)
    return cost_of(plan, expected, LivePrices(aws.client(session, "pricing"), plan.region))
