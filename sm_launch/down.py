"""Remove what a run made, in order, from its manifest; then look again, and tell what still costs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

from sm_launch import aws, resources
from sm_launch.errors import LaunchError
from sm_launch.manifest import GONE, Entry, Manifest

logger = logging.getLogger(__name__)

POLL_SECONDS = 10.0
# Longest wait for one thing to go: a file system takes minutes.
PATIENCE_SECONDS = 1800.0
_RUNNING = ("InProgress", "Stopping")
# States of a warm pool whose machines are billed (API reference, WarmPoolStatus).
_KEPT = ("Available", "InUse")


def down(
    manifest: Manifest, session: Any, *, poll_seconds: float = POLL_SECONDS, patience_seconds: float = PATIENCE_SECONDS
) -> list[str]:
    """Stop and delete everything of a run but its files in S3.

    A refusal does not end the work: the rest is removed first.

    Args:
        manifest: the run's; each thing is noted as gone when AWS says so.
        session: boto3 session.
        poll_seconds: how often AWS is asked.
        patience_seconds: how long one thing may take to go.

    Returns:
        A sentence for everything that could not be removed; empty if nothing is left.
    """
    problems = []
    for entry in _in_order(manifest):
        try:
            _remove(entry, session, poll_seconds, patience_seconds)
            entry.state = GONE
        except LaunchError as error:
            problems.append(str(error))
        manifest.save()
    return problems


def left(manifest: Manifest, session: Any) -> list[str]:
    """Look at everything that the run ever asked for, and name what exists or runs.

    Raises:
        LaunchError: AWS cannot be asked.
    """
    found = []
    for entry in manifest.entries:
        kind = resources.KINDS.get(entry.kind)
        if kind is None:
            continue
        state = _look(entry, session)
        if state and entry.facts.get("keep_alive_s") and _pool(entry, session) in _KEPT:
            found.append(f"warm pool of {entry.name}, which costs its instances until it ends by itself")
        if state and (kind.delete or state in _RUNNING):
            cost = f", which costs {kind.costs}" if kind.costs else ""
            found.append(f"{entry.kind} {entry.name} ({state}){cost}")
    return found


def delete_files(manifest: Manifest, session: Any) -> int:
    """Delete the run's own files in S3, all versions of them; returns how many.

    Raises:
        LaunchError: AWS refuses.
    """
    store = aws.client(session, "s3")
    place = {"Bucket": manifest.bucket, "Prefix": f"{manifest.folder}/"}
    pages = store.get_paginator("list_object_versions").paginate(**place)
    count = 0
    for page in aws.ask("list the run's files", lambda: list(pages)):
        listed = (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
        objects = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in listed]
        if objects:
            wanted = {"Bucket": manifest.bucket, "Delete": {"Objects": objects, "Quiet": True}}
            answer = aws.ask("delete the run's files", lambda wanted=wanted: store.delete_objects(**wanted))
            if errors := answer.get("Errors"):
                raise LaunchError(
                    f"s3://{manifest.bucket}/{errors[0]['Key']}: was not deleted ({errors[0].get('Message')}), and "
                    f"{len(errors) - 1} more; allow s3:DeleteObjectVersion."
                )
            count += len(objects)
    return count


def _in_order(manifest: Manifest) -> Iterator[Entry]:
    """What uses comes before what is used; within a kind the latest first."""
    for kind in resources.KINDS:
        yield from (entry for entry in reversed(manifest.entries) if entry.kind == kind and entry.state != GONE)


def _remove(entry: Entry, session: Any, poll_seconds: float, patience_seconds: float) -> None:
    """Stop or delete one thing, and wait until it is gone.

    Raises:
        LaunchError: AWS refuses, or it does not go in time.
    """
    kind = resources.KINDS[entry.kind]
    state = _look(entry, session)
    name = resources.name_of(entry)
    if name is None or state is None:
        return
    service = aws.client(session, kind.service)
    deadline = time.monotonic() + patience_seconds
    if kind.stop and state == "InProgress":
        aws.ask(f"stop the {entry.kind} {entry.name}", lambda: getattr(service, kind.stop)(**{kind.name_key: name}))
    if kind.delete:
        # AWS refuses to delete an endpoint or a file system that is still being made.
        while state and kind.status_key and state not in (*kind.ready, *kind.failed) and time.monotonic() < deadline:
            time.sleep(poll_seconds)
            state = _look(entry, session)
        aws.ask(f"delete the {entry.kind} {entry.name}", lambda: resources.delete(service, kind, name))
    while (state := _look(entry, session)) and (kind.delete or state in _RUNNING):
        if time.monotonic() > deadline:
            raise LaunchError(
                f"the {entry.kind} {entry.name} is still {state} after {patience_seconds:.0f} s; run 'sm_launch down' "
                "again later."
            )
        time.sleep(poll_seconds)
    if entry.facts.get("keep_alive_s"):
        _release(entry, service)
    logger.info("%s the %s %s", "deleted" if kind.delete else "ended", entry.kind, entry.name)


def _release(entry: Entry, service: Any) -> None:
    """Give the kept machines of a warm pool back: without a time to live they end at once (UpdateTrainingJob)."""
    update = {"TrainingJobName": entry.name, "ResourceConfig": {"KeepAlivePeriodInSeconds": 0}}
    found = aws.ask("look at the warm pool", lambda: service.describe_training_job(TrainingJobName=entry.name))
    if found.get("WarmPoolStatus", {}).get("Status") in _KEPT:
        aws.ask(f"release the warm pool of {entry.name}", lambda: service.update_training_job(**update))


def _pool(entry: Entry, session: Any) -> str:
    """State of a training job's warm pool; empty without one."""
    return ((resources.find(entry, session) or {}).get("WarmPoolStatus") or {}).get("Status", "")


def _look(entry: Entry, session: Any) -> str | None:
    """The state of a thing; None if it does not exist."""
    found, key = resources.find(entry, session), resources.KINDS[entry.kind].status_key
    if found is None:
        return None
    return str(found[key]) if key else "there"
