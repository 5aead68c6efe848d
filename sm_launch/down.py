"""Remove what a run made, in order, from its manifest; then look again, and tell what still costs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

from sm_launch import aws, resources
from sm_launch.errors import LaunchError
from sm_launch.manifest import GONE, MADE, Entry, Manifest
from sm_launch.ownership import is_ours, refuse_other_account
from sm_launch.spending import HOURS, alive_hours

logger = logging.getLogger(__name__)

POLL_SECONDS = 10.0
# Longest wait for one thing to go: a file system takes minutes.
PATIENCE_SECONDS = 1800.0
# States of a job, and of CodeBuild's build, that costs; and those of them in which it can be told to stop.
_GOING = ("InProgress", "IN_PROGRESS")
_RUNNING = (*_GOING, "Stopping")
# States of a warm pool whose machines are billed (API reference, WarmPoolStatus).
_KEPT = ("Available", "InUse")


def down(
    manifest: Manifest, session: Any, *, poll_seconds: float = POLL_SECONDS, patience_seconds: float = PATIENCE_SECONDS
) -> list[str]:
    """Stop and delete everything of a run but its files in S3.

    A refusal does not end the work: the rest is removed first. What was noted as gone, and is there, is removed too.

    Args:
        manifest: the run's; each thing is noted as gone when AWS says so.
        session: boto3 session.
        poll_seconds: how often AWS is asked.
        patience_seconds: how long one thing may take to go.

    Returns:
        A sentence for everything that could not be removed or noted; empty if nothing is left.

    Raises:
        LaunchError: the credentials are of another account than the run's, where nothing of it can be seen.
    """
    refuse_other_account(manifest, session)
    # A dict, since a manifest that cannot be written says so at every entry.
    problems: dict[str, None] = {}
    for entry in list(_in_order(manifest)):
        try:
            _take_away(entry, manifest, session, poll_seconds, patience_seconds)
        except LaunchError as error:
            problems[str(error)] = None
        try:
            manifest.save()
        except LaunchError as error:
            problems[str(error)] = None
    return list(problems)


def _take_away(entry: Entry, manifest: Manifest, session: Any, poll_seconds: float, patience_seconds: float) -> None:
    """One thing, unless it is somebody else's or gone as noted.

    Raises:
        LaunchError: AWS refuses, or it does not go in time.
    """
    if entry.state == GONE and not _still(entry, session):
        return
    if _is_strangers(entry, manifest, session):
        logger.warning("the %s %s is not of this run, and is left alone", entry.kind, entry.name)
        if entry.state != GONE:
            manifest.entries.remove(entry)
        return
    _remove(entry, session, poll_seconds, patience_seconds)
    entry.state = GONE


def to_remove(manifest: Manifest, session: Any) -> list[Entry]:
    """What :func:`down` would take away: all that is not gone, and what is noted as gone, is there and is the run's."""
    return [entry for entry in manifest.entries if entry.state != GONE or _is_back(entry, manifest, session)]


def _is_back(entry: Entry, manifest: Manifest, session: Any) -> bool:
    if entry.kind not in resources.KINDS:
        return False
    try:
        return _still(entry, session) is not None and not _is_strangers(entry, manifest, session)
    except LaunchError:
        # 'down' asks again, and tells why it cannot.
        return False


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
        if entry.facts.get("keep_alive_s") and _pool(entry, session) in _KEPT:
            found.append(f"warm pool of {entry.name}, which costs its instances until it ends by itself")
        if (state := _still(entry, session)) and not (entry.state == GONE and _is_strangers(entry, manifest, session)):
            cost = f", which costs {kind.costs}" if kind.costs else ""
            found.append(f"{entry.kind} {entry.name} ({state}){cost}")
    return found


def _in_order(manifest: Manifest) -> Iterator[Entry]:
    """What uses comes before what is used; within a kind the latest first."""
    for kind in resources.KINDS:
        yield from (entry for entry in reversed(manifest.entries) if entry.kind == kind)


def _is_strangers(entry: Entry, manifest: Manifest, session: Any) -> bool:
    """Whether a thing that was asked for, without an answer, or was gone, is somebody else's that has its name.

    Raises:
        LaunchError: AWS doesn't let it be looked at.
    """
    return entry.state != MADE and _look(entry, session) is not None and not is_ours(entry, manifest.run, session)


def _remove(entry: Entry, session: Any, poll_seconds: float, patience_seconds: float) -> None:
    """Stop or delete one thing, and wait until it is gone.

    Raises:
        LaunchError: AWS refuses, or it does not go in time.
    """
    kind = resources.KINDS[entry.kind]
    if _end(entry, kind, session, poll_seconds, patience_seconds):
        logger.info("%s the %s %s", "deleted" if kind.delete else "ended", entry.kind, entry.name)
    if kind.logs:
        _delete_logs(f"{kind.logs}{entry.name}", session)


def _end(entry: Entry, kind: resources.Kind, session: Any, poll_seconds: float, patience_seconds: float) -> bool:
    """Stop or delete one thing, and wait; False if there was none.

    Raises:
        LaunchError: AWS refuses, or it does not go in time.
    """
    found = resources.find(entry, session)
    name = resources.name_of(entry)
    if name is None or found is None:
        return False
    state: str | None = _state(kind, found)
    service = aws.client(session, kind.service)
    deadline = time.monotonic() + patience_seconds
    if kind.stop and state in _GOING:
        what = {kind.stop_key or kind.name_key: name}
        aws.ask(f"stop the {entry.kind} {entry.name}", lambda: getattr(service, kind.stop)(**what))
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
    if kind.costs and "CreationTime" in found:
        # AWS tells nothing of what is deleted, and 'ls' shall still know what it cost.
        entry.facts[HOURS] = entry.facts.get(HOURS, 0.0) + alive_hours(found)
    return True


def _delete_logs(group: str, session: Any) -> None:
    """Delete the log group of one endpoint or build project, which nothing else writes to.

    Raises:
        LaunchError: AWS refuses.
    """
    from botocore.exceptions import ClientError

    client = aws.client(session, "logs")

    def call() -> None:
        try:
            client.delete_log_group(logGroupName=group)
        except ClientError as error:
            if not resources.is_absent(error):
                raise

    aws.ask(f"delete the log group {group}", call)


def _release(entry: Entry, service: Any) -> None:
    """Give the kept machines of a warm pool back: without a time to live they end at once (UpdateTrainingJob)."""
    update = {"TrainingJobName": entry.name, "ResourceConfig": {"KeepAlivePeriodInSeconds": 0}}
    found = aws.ask("look at the warm pool", lambda: service.describe_training_job(TrainingJobName=entry.name))
    if found.get("WarmPoolStatus", {}).get("Status") in _KEPT:
        aws.ask(f"release the warm pool of {entry.name}", lambda: service.update_training_job(**update))


def _pool(entry: Entry, session: Any) -> str:
    """State of a training job's warm pool; empty without one."""
    return ((resources.find(entry, session) or {}).get("WarmPoolStatus") or {}).get("Status", "")


def _still(entry: Entry, session: Any) -> str | None:
    """The state of a thing that ``down`` would have to end or delete; None if there is nothing to do."""
    state = _look(entry, session)
    return state if state and (resources.KINDS[entry.kind].delete or state in _RUNNING) else None


def _look(entry: Entry, session: Any) -> str | None:
    """The state of a thing; None if it does not exist."""
    found = resources.find(entry, session)
    return None if found is None else _state(resources.KINDS[entry.kind], found)


def _state(kind: resources.Kind, found: Mapping[str, Any]) -> str:
    """What AWS's answer says of a thing's state."""
    return str(found[kind.status_key]) if kind.status_key else "there"
