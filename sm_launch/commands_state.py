"""Commands about runs that were applied: ls, results, predict and down."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from sm_launch.commands_run import confirmed
from sm_launch.errors import LaunchError
from sm_launch.manifest import Manifest, all_runs, load
from sm_launch.ownership import refuse_other_account


def list_runs(options: argparse.Namespace) -> None:
    """``ls``."""
    from sm_launch import aws
    from sm_launch.spending import spent

    runs = list(all_runs())
    if not runs:
        sys.stdout.write("no runs on this machine yet\n")
    for manifest in runs:
        session = aws.open_session(manifest.region, options.aws_profile)
        head = f"{manifest.run}  {manifest.region}  {manifest.created}"
        if manifest.account and manifest.account != aws.account(session):
            sys.stdout.write(f"{head}  of account {manifest.account}: seen with its --aws-profile\n")
            continue
        amount = spent(manifest, session)
        sys.stdout.write(f"{head}  {amount.text()}\n")
        for line in amount.lines:
            sys.stdout.write(f"  {line}\n")


def show_results(options: argparse.Namespace) -> None:
    """``results``."""
    from sm_launch import aws
    from sm_launch.results import best_overrides, table, trials

    manifest = load(options.run_id)
    session = aws.open_session(manifest.region, options.aws_profile)
    refuse_other_account(manifest, session)
    found = trials(manifest, session)
    sys.stdout.write(table(found) + "\n")
    if options.best:
        options.best.write_text(json.dumps(best_overrides(found), indent=4) + "\n", encoding="utf-8")
        sys.stdout.write(f"best trial's overrides: {options.best}\n")


def predict_cases(options: argparse.Namespace) -> int:
    """``predict``; 1 if a case has no answer."""
    from sm_launch import aws
    from sm_launch.predict import Event, Sending
    from sm_launch.predict_run import Target, predict_run
    from sm_launch.serving import MB

    def progress(event: Event) -> None:
        sys.stdout.write(f"[{event.done}/{event.total}] {event.case}: {event.state}, {event.detail}\n")
        sys.stdout.flush()

    def agree(target: Target, sending: Sending) -> None:
        sys.stdout.write(
            f"{sending.cases} of {sending.total} cases, {sending.size / MB:.1f} MB, to {target} in {manifest.region}\n"
        )
        sys.stdout.flush()
        confirmed("Send them?", options.yes)

    manifest = load(options.run_id)
    session = aws.open_session(manifest.region, options.aws_profile)
    refuse_other_account(manifest, session)
    report = predict_run(manifest, session, options.cases, options.output, progress, agree, options.poll)
    sys.stdout.write(
        f"{len(report.answered)} answered, {len(report.skipped)} answered before, {len(report.failed)} failed\n"
    )
    return 1 if report.failed else 0


def take_down(options: argparse.Namespace) -> int:
    """``down``; 1 if something is left, or could not be seen to."""
    from sm_launch import aws
    from sm_launch.down import down

    manifest = load(options.run_id)
    session = aws.open_session(manifest.region, options.aws_profile)
    refuse_other_account(manifest, session)
    _show_entries(manifest, session)
    confirmed("Stop and delete these" + (" and the run's files in S3?" if options.files else "?"), options.yes)
    problems = down(manifest, session, poll_seconds=options.poll)
    for line in problems:
        sys.stdout.write(f"left: {line}\n")
    looks = (_delete_files, _show_left, _show_stored) if options.files else (_show_left, _show_stored)
    found = [look(manifest, session) for look in looks]
    return 1 if problems or not all(found) else 0


def _goes_on(look: Callable[[Manifest, Any], bool]) -> Callable[[Manifest, Any], bool]:
    """A refusal is told, and keeps nothing else of ``down`` from being told."""

    @wraps(look)
    def told(manifest: Manifest, session: Any) -> bool:
        try:
            return look(manifest, session)
        except LaunchError as error:
            sys.stdout.write(f"left: {error}\n")
            return False

    return told


@_goes_on
def _delete_files(manifest: Manifest, session: Any) -> bool:
    from sm_launch.stored import delete_files

    sys.stdout.write(f"deleted {delete_files(manifest, session)} objects of the run in s3://{manifest.bucket}\n")
    return True


@_goes_on
def _show_left(manifest: Manifest, session: Any) -> bool:
    """Whether nothing is left that runs."""
    from sm_launch.down import left

    remaining = left(manifest, session)
    for line in remaining:
        sys.stdout.write(f"left: {line}\n")
    if not remaining:
        sys.stdout.write("nothing is left that runs\n")
    return not remaining


@_goes_on
def _show_stored(manifest: Manifest, session: Any) -> bool:
    from sm_launch.serving import MB
    from sm_launch.stored import stored

    for place in stored(manifest, session):
        whose = "the run's files, delete by --files" if place.own else "copied by the run, other runs may read it"
        sys.stdout.write(f"still costs: {place.uri} ({place.objects} objects, {place.size / MB:.1f} MB; {whose})\n")
    return True


def _show_entries(manifest: Manifest, session: Any) -> None:
    from sm_launch.down import to_remove

    there = to_remove(manifest, session)
    for entry in there:
        sys.stdout.write(f"  {entry.kind:<16} {entry.name}  {_about(entry.facts)}".rstrip() + "\n")
    if not there:
        sys.stdout.write("  the manifest has nothing that is not gone\n")


def _about(facts: dict[str, Any]) -> str:
    if "instance_type" in facts:
        return f"{facts['instance_count']} x {facts['instance_type']}"
    return f"{facts['storage_gib']} GiB" if "storage_gib" in facts else ""
