"""Cases through an asynchronous endpoint's queue."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sm_launch.predict import Agree, Prediction, Progress, Report
from sm_launch.predict_cases import Case
from sm_launch.predict_retry import patiently, sentence
from sm_launch.predict_tidy import Tidy
from sm_launch.predict_transfer import Sleep, fetch, upload
from sm_launch.serving import ASYNC, LONGEST_INVOCATION_S

# botocore's model, InvokeEndpointAsync.RequestTTLSeconds: how long a request may wait in the queue, at most.
LONGEST_WAIT_S = 21600


def predict_async(
    cases_dir: Path,
    output_dir: Path,
    endpoint: str,
    input_uri: str,
    runtime: Any,
    s3: Any,
    *,
    kms_key: str | None = None,
    tidy: bool = True,
    poll_seconds: float = 5.0,
    progress: Progress | None = None,
    answered_by: str = "",
    agree: Agree | None = None,
    sleep: Sleep = time.sleep,
) -> Report:
    """Put all cases into an asynchronous endpoint's queue, and fetch the answers as they come.

    A run that is stopped and started again fetches what was asked for before, and asks for the rest.

    Args:
        cases_dir: folder of the images.
        output_dir: folder of the answers.
        endpoint: name of the endpoint.
        input_uri: s3://BUCKET/PREFIX for the cases on their way.
        runtime: boto3 client of ``sagemaker-runtime``.
        s3: boto3 client of ``s3``.
        kms_key: encrypts the cases in S3; None leaves the bucket's own encryption.
        tidy: delete case and answer, with all versions of them, from S3 once the answer is here.
        poll_seconds: between two looks.
        progress: called for each case that is through.
        answered_by: tells this model from another behind the same name, so that answers of that one do not count;
            empty for the endpoint's name.
        agree: called before the first case is sent, if any is to be; raises to send none.
        sleep: waits.

    Raises:
        LaunchError: there are no cases, one is too large, or AWS refuses.
    """
    prediction = Prediction(cases_dir, output_dir, ASYNC, answered_by or endpoint, progress, agree)
    tidying = Tidy(s3, sleep)
    waiting: dict[Case, Mapping[str, Any]] = {}
    for case in prediction.pending:
        waiting[case] = prediction.record.waiting(case) or _ask(
            prediction, case, endpoint, input_uri, runtime, s3, kms_key, sleep
        )
    while waiting:
        for case, where in list(waiting.items()):
            content = fetch(s3, where["output"], sleep)
            reason = fetch(s3, where["failure"], sleep) if content is None and where.get("failure") else None
            if content is None and reason is None and time.time() > where["until"]:
                reason = b"no answer came in the time that a request may wait and run; send it again"
            if content is None and reason is None:
                continue
            if content is not None:
                prediction.answered(case, content)
            else:
                prediction.failed(case, sentence(reason.decode("utf-8", "replace")))
            del waiting[case]
            if tidy:
                for uri in filter(None, (where["input"], where["output"], where.get("failure"))):
                    tidying.delete(uri)
        if waiting:
            sleep(poll_seconds)
    return prediction.report


def _ask(
    prediction: Prediction,
    case: Case,
    endpoint: str,
    input_uri: str,
    runtime: Any,
    s3: Any,
    kms_key: str | None,
    sleep: Sleep,
) -> Mapping[str, Any]:
    """Upload a case and put it into the queue; where its answer will be."""
    source = f"{input_uri.rstrip('/')}/{case.key}"
    upload(s3, case, source, kms_key, sleep)
    answer = patiently(
        f"ask the endpoint {endpoint}",
        lambda: runtime.invoke_endpoint_async(
            EndpointName=endpoint, InputLocation=source, ContentType=case.content_type, Accept=case.content_type,
            RequestTTLSeconds=LONGEST_WAIT_S, InvocationTimeoutSeconds=LONGEST_INVOCATION_S,
        ),
        sleep,
    )  # fmt: skip
    where = {
        "input": source, "output": answer["OutputLocation"], "failure": answer.get("FailureLocation"),
        "until": time.time() + LONGEST_WAIT_S + LONGEST_INVOCATION_S,
    }  # fmt: skip
    prediction.expect(case, where)
    return where
