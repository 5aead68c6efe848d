"""Commands that run jobs: apply, local and follow."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from sm_launch.commands_plan import estimate, planned
from sm_launch.errors import LaunchError
from sm_launch.frame import PHI
from sm_launch.manifest import Manifest, load, path_of
from sm_launch.ownership import refuse_other_account
from sm_launch.steps import Plan


def confirmed(question: str, yes: bool) -> None:
    """Ask the user, unless ``--yes`` was given.

    Raises:
        LaunchError: the answer is no, or nobody is there to answer.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise LaunchError("nobody is there to say yes; add --yes.")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise LaunchError("nothing was done.")


def apply_plan(options: argparse.Namespace) -> int:
    """``apply``."""
    from sm_launch import aws, render
    from sm_launch.apply import apply
    from sm_launch.follow import WATCHES
    from sm_launch.preflight import check_account

    plan = planned(options)
    sys.stdout.write(render.text(plan, estimate(plan, options)) + "\n\n")
    confirmed("Carry this out?", options.yes)
    session = aws.open_session(plan.region, options.aws_profile)
    check_account(plan, session, with_quotas=not options.no_quotas)
    path = path_of(plan.run)
    # A run that was broken off goes on under its id: what it made is taken as it is.
    fresh = Manifest(plan.run, plan.region, plan.bucket, plan.folder, plan.profile, path=path)
    manifest = load(plan.run) if path.exists() else fresh
    sys.stdout.write(f"run {plan.run}, manifest {manifest.path}\n")

    def watch(kind: str, name: str) -> None:
        if kind in WATCHES:
            show_job(session, kind, name, options.poll, plan.profile)

    apply(plan, session, manifest, watch=watch, poll_seconds=options.poll)
    jobs = [step for step in plan.steps if step.kind and not step.wait]
    if jobs and not options.detach and jobs[-1].kind.endswith("-job"):
        return show_job(session, jobs[-1].kind, jobs[-1].name, options.poll, plan.profile)
    return 0


def show_job(session: Any, kind: str, name: str, poll_seconds: float, profile: str) -> int:
    """Follow one job to its end; 1 if it failed. Of patient data, what looks like an identity is not shown."""
    from sm_launch.follow import follow
    from sm_launch.follow_view import redacted, show

    events = follow(session, kind, name, poll_seconds)
    outcome = show(redacted(events) if profile == PHI else events, name)
    return 0 if outcome and outcome.succeeded else 1


def follow_run(options: argparse.Namespace) -> int:
    """``follow``; 1 if a job failed."""
    from sm_launch import aws
    from sm_launch.follow import WATCHES

    manifest = load(options.run_id)
    session = aws.open_session(manifest.region, options.aws_profile)
    refuse_other_account(manifest, session)
    followed = [entry for entry in manifest.entries if entry.kind in WATCHES]
    if not followed:
        raise LaunchError(f"run {manifest.run} has no job; 'sm_launch ls' shows what it has.")
    return max(show_job(session, entry.kind, entry.name, options.poll, manifest.profile) for entry in followed)


def run_local(options: argparse.Namespace) -> None:
    """``local``."""
    from sm_launch.local_plan import run_plan, serve_model

    plan: Plan = planned(options)

    def show(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    work_dir = options.work_dir / plan.run
    store = run_plan(plan, work_dir, show)
    show(f"all is in {work_dir}")
    serve_model(plan, store, work_dir, show)
