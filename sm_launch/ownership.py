"""Whose a thing is: a name that is taken may be this run's from an answer that was lost, or a stranger's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from sm_launch import aws, resources
from sm_launch.errors import LaunchError
from sm_launch.frame import RUN_TAG
from sm_launch.manifest import ASKED, MADE, Entry, Manifest
from sm_launch.steps import Plan, Step

# Fact of an entry: checksum of what was asked for.
ASKED_FOR = "asked_for"
_SCHEME = "s3://"
# Where 'down' looks for a run's things, and how it treats them; each with the spec's knob for it.
_PLACES = {"region": "region", "bucket": "bucket.name", "folder": "bucket.prefix", "profile": "profile"}


def fingerprint(plan: Plan, step: Step) -> str:
    """SHA-256 of a step's request, and of the uploads that it reads: a job's overrides are in one of those."""
    places = tuple(place.removeprefix(_SCHEME).rstrip("/") + "/" for place in _texts(step.request) if "/" in place)
    files = [(one.uri, one.sha256) for one in plan.uploads if f"{one.uri.removeprefix(_SCHEME)}/".startswith(places)]
    content = {"request": step.request, "files": sorted(files)}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def refuse_other_account(manifest: Manifest, session: Any) -> None:
    """Refuse credentials of another account than the run's, with which all that it has would seem to be gone.

    Raises:
        LaunchError: they are, or AWS does not know them.
    """
    if manifest.account and (found := aws.account(session)) != manifest.account:
        raise LaunchError(
            f"run {manifest.run} is of account {manifest.account}, and your credentials are of {found}; choose others "
            "by --aws-profile."
        )


def check_unchanged(plan: Plan, manifest: Manifest) -> None:
    """Refuse, before anything is done, a run whose spec is another than the one that made its things.

    Raises:
        LaunchError: the run has another region, bucket, folder or profile, or a thing that it made was asked for
            otherwise.
    """
    for what, knob in _PLACES.items():
        before, now = getattr(manifest, what), getattr(plan, what)
        if before != now:
            raise LaunchError(
                f"run {manifest.run} was begun with the {what} {before}, and the plan has {now}; choose another --run, "
                f"or set {knob} back."
            )
    made = {(entry.kind, entry.name): entry for entry in manifest.entries if entry.state == MADE}
    for step in plan.steps:
        entry = made.get((step.kind, step.name))
        if entry and _differs(entry, fingerprint(plan, step)):
            raise _changed(manifest, entry)


def adopt(manifest: Manifest, entry: Entry, before: Entry | None, session: Any) -> None:
    """Take a thing whose name is taken for this run's, if it is.

    Args:
        manifest: the run's; the entry of a stranger's thing is taken out, so that ``down`` leaves it alone.
        entry: as it was just noted.
        before: as it was noted by an earlier ``apply``; None on the first.
        session: boto3 session.

    Raises:
        LaunchError: it is a stranger's, it was asked for otherwise, or AWS doesn't let its tags be read.
    """
    if before and before.state == MADE:
        return
    if not is_ours(entry, manifest.run, session):
        manifest.entries.remove(entry)
        manifest.save()
        raise LaunchError(
            f"the {entry.kind} {entry.name} exists already and has no tag {RUN_TAG}={manifest.run}, so it is not this "
            "run's; choose another --run or name, or delete it yourself."
        )
    if before and _differs(before, entry.facts[ASKED_FOR]):
        entry.facts = before.facts
        manifest.save()
        raise _changed(manifest, entry)


def is_ours(entry: Entry, run: str, session: Any) -> bool:
    """Whether a thing that exists has the run's tag; True for kinds that AWS names itself.

    Raises:
        LaunchError: AWS doesn't let it be looked at.
    """
    kind = resources.KINDS[entry.kind]
    if kind.fact or entry.kind == resources.ALARM:
        # Their ids came by an answer to this run; an alarm is replaced, never refused as taken.
        return True
    found = resources.find(entry, session) or {}
    tags = aws.ask(f"read the tags of the {entry.kind} {entry.name}", lambda: _tags(entry, found, session))
    return tags.get(RUN_TAG) == run


def _tags(entry: Entry, found: Mapping[str, Any], session: Any) -> dict[str, str]:
    kind = resources.KINDS[entry.kind]
    client = aws.client(session, kind.service)
    if entry.kind == resources.BUILD_PROJECT:
        return {tag["key"]: tag["value"] for tag in found.get("tags", ())}
    if entry.kind == resources.REPOSITORY:
        listed = client.list_tags_for_resource(resourceArn=found["repositoryArn"])["tags"] if found else ()
    else:
        arn = found.get(kind.name_key.removesuffix("Name") + "Arn")
        pages = client.get_paginator("list_tags").paginate(ResourceArn=arn) if arn else ()
        listed = [tag for page in pages for tag in page["Tags"]]
    return {tag["Key"]: tag["Value"] for tag in listed}


def _differs(entry: Entry, asked_for: str) -> bool:
    """Whether it was asked for otherwise; manifests of older versions do not tell."""
    return entry.state in (ASKED, MADE) and entry.facts.get(ASKED_FOR, asked_for) != asked_for


def _changed(manifest: Manifest, entry: Entry) -> LaunchError:
    return LaunchError(
        f"the {entry.kind} {entry.name} was made from another spec or bundle; choose another --run, or 'sm_launch down "
        f"{manifest.run}' first."
    )


def _texts(value: Any) -> Iterator[str]:
    """Every text in a request."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inside in value.values():
            yield from _texts(inside)
    elif isinstance(value, (list, tuple)):
        for inside in value:
            yield from _texts(inside)
