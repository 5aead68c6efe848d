"""Do what a plan says: upload, ask AWS for each step, wait where the next one needs it, note everything."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sm_launch import aws, resources
from sm_launch.container.redaction import redact
from sm_launch.errors import LaunchError
from sm_launch.fleet import fleet_of
from sm_launch.frame import PHI
from sm_launch.manifest import ASKED, MADE, Entry, Manifest
from sm_launch.ownership import ASKED_FOR, adopt, check_unchanged, fingerprint, refuse_other_account
from sm_launch.requests_fsx import FILE_SYSTEM_ID, MOUNT_NAME
from sm_launch.requests_scaling import policy_arn
from sm_launch.spending import HOURS
from sm_launch.steps import Plan, Step
from sm_launch.views import instructions

logger = logging.getLogger(__name__)

POLL_SECONDS = 15.0
# How AWS words that a name is taken: after a lost connection it may be our own.
_TAKEN_CODES = {"ResourceInUse", "ResourceInUseException", "ResourceAlreadyExistsException", "BucketAlreadyOwnedByYou"}
_TAKEN_WORDS = ("already exist", "must be unique")

Watch = Callable[[str, str], None]


def apply(
    plan: Plan, session: Any, manifest: Manifest, *, watch: Watch | None = None, poll_seconds: float = POLL_SECONDS
) -> None:
    """Carry a plan out. What is made is in the manifest at every moment, so ``down`` can follow any failure.

    Args:
        plan: the plan.
        session: boto3 session.
        manifest: the run's; saved before and after every call.
        watch: called with kind and name of a job to wait for, to show it while it runs; None waits silently.
        poll_seconds: how often AWS is asked whether a thing is ready.

    Raises:
        LaunchError: AWS refused, a name is taken by a stranger's thing, the run was made from another spec or in
            another account, or a thing that the next step needs failed.
    """
    from sm_launch.sync import copy_folder, put_uploads

    check_unchanged(plan, manifest)
    refuse_other_account(manifest, session)
    manifest.account = manifest.account or aws.account(session)
    manifest.copies = list(dict.fromkeys((*manifest.copies, *(copy.uri for copy in plan.copies))))
    manifest.save()
    filled: dict[str, str] = {}
    # Jobs read what is uploaded, and uploads need the bucket.
    before = [step for step in plan.steps if step.service == "s3"]
    if before:
        _make_bucket(plan, before, session)
    put_uploads(plan.uploads, aws.client(session, "s3"), kms_key=plan.kms_key)
    for copy in plan.copies:
        copy_folder(copy, aws.client(session, "s3"), kms_key=plan.kms_key)
    for step in plan.steps:
        if step not in before:
            _do(plan, step, session, manifest, filled, watch, poll_seconds)


def _make_bucket(plan: Plan, steps: Sequence[Step], session: Any) -> None:
    """The bucket as planned; one that was there keeps its owner's settings, and must be fit for patients all the same.

    Raises:
        LaunchError: AWS refused, or data of patients may not lie there.
    """
    from sm_launch.bucket import make_bucket
    from sm_launch.phi import bucket_problems

    store = aws.client(session, "s3")
    for note in make_bucket(steps, store, plan.region):
        logger.warning("%s", note)
    if plan.profile == PHI and (problems := bucket_problems(store, plan.bucket)):
        raise LaunchError(" ".join(problems))


def _do(
    plan: Plan,
    step: Step,
    session: Any,
    manifest: Manifest,
    filled: dict[str, str],
    watch: Watch | None,
    poll_seconds: float,
) -> None:
    """One step: note, ask, note, wait."""
    request = fill(step.request, filled)
    entry, before = _note(plan, step, manifest) if step.kind else (None, None)
    answer = {} if entry and before and _builds(entry, before, session) else _ask(step, request, session)
    if answer is None and entry:
        adopt(manifest, entry, before, session)
    answer = answer or {}
    if "PolicyARN" in answer:
        filled[policy_arn(request["PolicyName"])] = answer["PolicyARN"]
    if entry:
        entry.facts |= _ids(answer)
        entry.state = MADE
        manifest.save()
        _leave_copy(plan, manifest, session)
        logger.info("asked for the %s %s", step.kind, step.name)
    if step.wait and entry:
        if watch:
            watch(step.kind, step.name)
        found = wait_for(entry, session, poll_seconds, plan.profile)
        if step.kind == resources.FILE_SYSTEM:
            filled[FILE_SYSTEM_ID] = entry.facts["id"]
            filled[MOUNT_NAME] = found["LustreConfiguration"]["MountName"]


def _note(plan: Plan, step: Step, manifest: Manifest) -> tuple[Entry, Entry | None]:
    """The entry of what is about to be asked for, saved, and what it was before."""
    known = [one for one in manifest.entries if (one.kind, one.name) == (step.kind, step.name)]
    before = replace(known[0]) if known else None
    entry = manifest.entry(step.kind, step.name)
    facts = {**fleet_of(step), **searched(plan, step), ASKED_FOR: fingerprint(plan, step)}
    if step.kind == resources.TRANSFORM:
        facts[resources.PATTERN] = step.request
    if before and HOURS in before.facts:
        facts[HOURS] = before.facts[HOURS]
    entry.state, entry.facts = ASKED, facts
    manifest.save()
    return entry, before


def _builds(entry: Entry, before: Entry, session: Any) -> bool:
    """Whether an earlier ``apply`` started the run's build, which is not to be started twice, as it would be with no
    name to be taken."""
    if entry.kind != resources.BUILD:
        return False
    entry.facts |= {"id": before.facts["id"]} if "id" in before.facts else {}
    found = resources.find(entry, session)
    return found is not None and found["buildStatus"] not in resources.KINDS[entry.kind].failed


def searched(plan: Plan, step: Step) -> dict[str, Any]:
    """Of a tuning job: which hyperparameter is which knob of the bundle, so its results can be read as overrides."""
    if step.kind != resources.TUNING:
        return {}
    return {"hyperparameters": instructions(plan, step.request["TrainingJobDefinition"])["hyperparameters"]}


def _ask(step: Step, request: Mapping[str, Any], session: Any) -> Mapping[str, Any] | None:
    """The call; None if the name is taken."""
    from botocore import xform_name
    from botocore.exceptions import ClientError

    method = getattr(aws.client(session, step.service), xform_name(step.operation))

    def call() -> Mapping[str, Any] | None:
        try:
            return method(**request)
        except ClientError as error:
            found = error.response.get("Error", {})
            message = str(found.get("Message", "")).lower()
            if step.kind and (found.get("Code") in _TAKEN_CODES or any(word in message for word in _TAKEN_WORDS)):
                return None
            raise

    return aws.ask(f"make the {step.kind or step.operation} {step.name}".strip(), call)


def wait_for(entry: Entry, session: Any, poll_seconds: float, profile: str) -> Mapping[str, Any]:
    """Wait until a thing is done or ready.

    Raises:
        LaunchError: it failed; the sentence has AWS's reason, which may hold a log line, so it is masked under phi.
    """
    kind = resources.KINDS[entry.kind]
    while True:
        found = resources.find(entry, session)
        if found is None:
            raise LaunchError(f"the {entry.kind} {entry.name} is gone; somebody deleted it, apply the spec again.")
        status = found[kind.status_key]
        if status in kind.ready:
            return found
        if status in kind.failed:
            reason = found.get("FailureReason") or found.get("FailureDetails", {}).get("Message") or "no reason given"
            reason = " ".join(str(reason).split()).rstrip(".")
            raise LaunchError(
                f"the {entry.kind} {entry.name} ended as {status}: {redact(reason) if profile == PHI else reason}; "
                "'sm_launch follow RUN' shows its log, 'sm_launch down RUN' removes what was made."
            )
        time.sleep(poll_seconds)


def _ids(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What AWS named a thing by."""
    if "FileSystem" in answer:
        return {"id": answer["FileSystem"]["FileSystemId"]}
    if "Association" in answer:
        return {"id": answer["Association"]["AssociationId"]}
    if "build" in answer:
        return {"id": answer["build"]["id"]}
    return {key: value for key, value in answer.items() if key.endswith("Arn")}


def fill(request: Any, filled: Mapping[str, str]) -> Any:
    """A request with what AWS answered to earlier steps in place of its braces."""
    if isinstance(request, str):
        for brace, value in filled.items():
            request = request.replace(brace, value)
        return request
    if isinstance(request, Mapping):
        return {key: fill(value, filled) for key, value in request.items()}
    if isinstance(request, (list, tuple)):
        return [fill(value, filled) for value in request]
    return request


def _leave_copy(plan: Plan, manifest: Manifest, session: Any) -> None:
    """A copy of the manifest beside the run's files, for the day when this machine is gone."""
    store = aws.client(session, "s3")
    place = {"Bucket": manifest.bucket, "Key": f"{manifest.folder}/manifest.json"}
    key = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": plan.kms_key} if plan.kms_key else {}
    aws.ask("leave the manifest in S3", lambda: store.put_object(**place, **key, Body=manifest.text().encode()))
