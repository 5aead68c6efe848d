"""Cases through a batch transform job."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sm_launch.errors import LaunchError
from sm_launch.predict import Agree, Prediction, Progress, Report
from sm_launch.predict_cases import ANY
from sm_launch.predict_retry import patiently
from sm_launch.predict_tidy import Tidy
from sm_launch.predict_transfer import Sleep, fetch, upload
from sm_launch.serving import BATCH

_TAKEN = {"ResourceInUse", "ResourceInUseException"}
_RUNNING = {"InProgress", "Stopping"}
# botocore's model: 63 characters, of which a hyphen, 8 digits of a checksum and an attempt are ours.
_NAME_LENGTH = 63 - 12
ATTEMPTS = 10


def predict_batch(
    cases_dir: Path,
    output_dir: Path,
    request: Mapping[str, Any],
    sagemaker: Any,
    s3: Any,
    *,
    kms_key: str | None = None,
    tidy: bool = True,
    poll_seconds: float = 30.0,
    progress: Progress | None = None,
    answered_by: str = "",
    agree: Agree | None = None,
    note: Callable[[str], None] | None = None,
    sleep: Sleep = time.sleep,
) -> Report:
    """Run one batch transform job over the cases that have no answer yet.

    The job's name and folders end in a checksum of its model and cases: a run that is stopped and started again finds
    its own job, and waits for it.

    Args:
        cases_dir: folder of the images.
        output_dir: folder of the answers.
        request: of CreateTransformJob, by :func:`sm_launch.requests_serving.transform_request`; its model exists.
        sagemaker: boto3 client of ``sagemaker``.
        s3: boto3 client of ``s3``.
        kms_key: encrypts the cases in S3; None leaves the bucket's own encryption.
        tidy: delete cases and answers, with all versions of them, from S3 once the answers are here.
        poll_seconds: between two looks at the job.
        progress: called for each case that is through.
        answered_by: tells this model from another behind the same name, so that answers of that one do not count;
            empty for the model's name.
        agree: called before the first case is sent, if any is to be; raises to send none.
        note: called with the name of each job before it is asked for.
        sleep: waits.

    Raises:
        LaunchError: there are no cases, one is too large, or the job ended without any answer.
    """
    answered_by = answered_by or request["ModelName"]
    prediction = Prediction(cases_dir, output_dir, BATCH, answered_by, progress, agree)
    if not prediction.pending:
        return prediction.report
    cases = sorted(case.sha256 for case in prediction.pending)
    work = hashlib.sha256("".join((answered_by, *cases)).encode()).hexdigest()[:8]
    job = _job_request(request, work, {case.content_type for case in prediction.pending})
    source = job["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    target = job["TransformOutput"]["S3OutputPath"]
    for case in prediction.pending:
        upload(s3, case, f"{source}{case.key}", kms_key, sleep)

    def has_answers() -> bool:
        return fetch(s3, f"{target}{prediction.pending[0].key}.out", sleep) is not None

    ended = _run_job(job, sagemaker, has_answers, poll_seconds, sleep, note)
    reason = str(ended.get("FailureReason") or f"the job ended as {ended['TransformJobStatus']}").rstrip(".")
    tidying = Tidy(s3, sleep)
    for case in prediction.pending:
        content = fetch(s3, f"{target}{case.key}.out", sleep)
        if content is not None:
            prediction.answered(case, content)
        else:
            prediction.failed(case, f"the job {ended['TransformJobName']} wrote no answer: {reason}; see its log")
        if tidy:
            tidying.delete(f"{source}{case.key}")
            tidying.delete(f"{target}{case.key}.out")
    return prediction.report


def _job_request(request: Mapping[str, Any], work: str, content_types: set[str]) -> dict[str, Any]:
    """The request for just these cases."""
    data, target = request["TransformInput"], request["TransformOutput"]
    source = data["DataSource"]["S3DataSource"]
    one_type = content_types.pop() if len(content_types) == 1 else ANY
    place = {"S3DataSource": {**source, "S3Uri": f"{source['S3Uri'].rstrip('/')}/{work}/"}}
    answers = f"{target['S3OutputPath'].rstrip('/')}/{work}/"
    return {
        **request,
        "TransformJobName": f"{request['TransformJobName'][:_NAME_LENGTH].rstrip('-')}-{work}",
        "TransformInput": {**data, "DataSource": place, "ContentType": one_type},
        "TransformOutput": {**target, "S3OutputPath": answers, "Accept": one_type},
    }


def _run_job(
    job: Mapping[str, Any],
    sagemaker: Any,
    has_answers: Callable[[], bool],
    poll_seconds: float,
    sleep: Sleep,
    note: Callable[[str], None] | None,
) -> Mapping[str, Any]:
    """Start the job, or find it running from before, and wait; one of that name that failed, or whose answers were
    fetched and tidied away, is done anew."""
    from botocore.exceptions import ClientError

    name = job["TransformJobName"]
    for attempt in range(ATTEMPTS):
        current = f"{name}-{attempt}" if attempt else name
        if note:
            note(current)
        try:
            sagemaker.create_transform_job(**{**job, "TransformJobName": current})
            started = True
        except ClientError as error:
            code, message = (str(error.response.get("Error", {}).get(key, "")) for key in ("Code", "Message"))
            if code not in _TAKEN and "must be unique" not in message and "already exist" not in message.lower():
                words = " ".join(message.split()).rstrip(".")
                raise LaunchError(
                    f"could not start the transform job: AWS says {code}, '{words}'; mend that."
                ) from error
            started = False
        while (found := _describe(sagemaker, current, sleep))["TransformJobStatus"] in _RUNNING:
            sleep(poll_seconds)
        if started or (found["TransformJobStatus"] == "Completed" and has_answers()):
            return found
    raise LaunchError(f"the transform job {name} has been done {ATTEMPTS} times; see its log, and plan a new run.")


def _describe(sagemaker: Any, name: str, sleep: Sleep) -> Mapping[str, Any]:
    return patiently(
        f"look at the transform job {name}", lambda: sagemaker.describe_transform_job(TransformJobName=name), sleep
    )
