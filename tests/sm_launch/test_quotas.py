"""Quotas that a plan needs, and what a user reads where the account has less."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import launch_plans as lp
import pytest
from json_service import Refusal, served

from sm_launch import quotas
from sm_launch.aws import open_session
from sm_launch.errors import LaunchError
from sm_launch.prices import LivePrices
from sm_launch.views import TRAINING

PAGE = "https://us-east-1.console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas"


def listed(*known: tuple[str, str, float]) -> Any:
    """ListServiceQuotas in pages of one, as AWS pages its many hundreds."""

    def answer(request: Mapping[str, Any]) -> Mapping[str, Any]:
        assert request["ServiceCode"] == "sagemaker"
        place = int(request.get("NextToken", "0"))
        page = [
            {"QuotaName": name, "QuotaCode": code, "Value": value} for name, code, value in known[place : place + 1]
        ]
        more = {"NextToken": str(place + 1)} if place + 1 < len(known) else {}
        return {"Quotas": page} | more

    return answer


def refuse(code: str) -> Any:
    def answer(request: Mapping[str, Any]) -> Mapping[str, Any]:
        raise Refusal(code)

    return answer


def test_what_each_job_type_needs() -> None:
    assert quotas.needed(lp.everything()) == {
        # A tuning runs two trials of two machines at once; a training alone needs two.
        "ml.c5.4xlarge for training job usage": 4,
        "ml.m5.xlarge for processing job usage": 2,
        "ml.m5.2xlarge for transform job usage": 1,
        "ml.m5.2xlarge for endpoint usage": 1,
    }


def test_spot_and_warm_pools_have_quotas_of_their_own() -> None:
    spot = lp.changed(lp.training(), lp.put("EnableManagedSpotTraining", True))
    assert quotas.needed(lp.plan(spot)) == {"ml.c5.4xlarge for spot training job usage": 2}
    warm = lp.changed(lp.training(), lp.put("ResourceConfig.KeepAlivePeriodInSeconds", 600))
    assert quotas.needed(lp.plan(warm)) == {
        "ml.c5.4xlarge for training job usage": 2,
        "ml.c5.4xlarge for training warm pool usage": 2,
    }


def test_endpoints_add_up_since_they_stay() -> None:
    second = lp.changed(lp.endpoint_config(), lp.put("EndpointConfigName", "other"))
    assert quotas.needed(lp.plan(lp.endpoint_config(), second)) == {"ml.m5.2xlarge for endpoint usage": 2}


def test_quota_of_zero_is_one_sentence_with_the_page_to_ask_at() -> None:
    wanted = {"ml.g5.2xlarge for training job usage": 1, "ml.m5.xlarge for processing job usage": 2}
    answers = {
        "ListServiceQuotas": listed(
            ("ml.m5.xlarge for processing job usage", "L-0001", 10.0),
            ("ml.g5.2xlarge for training job usage", "L-0002", 0.0),
        )
    }
    with served("service-quotas", answers) as client:
        assert quotas.check(wanted, client, lp.REGION) == [
            f"Quota 'ml.g5.2xlarge for training job usage' is 0 in us-east-1, and the plan needs 1; ask for more at "
            f"{PAGE}/L-0002."
        ]


def test_quota_never_touched_is_among_the_defaults() -> None:
    answers = {
        "ListServiceQuotas": listed(),
        "ListAWSDefaultServiceQuotas": listed(("ml.p5.4xlarge for training job usage", "L-0003", 0.0)),
    }
    with served("service-quotas", answers) as client:
        found = quotas.check({"ml.p5.4xlarge for training job usage": 1}, client, lp.REGION)
    assert found[0].endswith(f"{PAGE}/L-0003.")


def test_quota_of_no_list_is_said_to_be_missing() -> None:
    answers = {"ListServiceQuotas": listed(), "ListAWSDefaultServiceQuotas": listed()}
    with served("service-quotas", answers) as client:
        assert quotas.check({"ml.x.y for training job usage": 1}, client, lp.REGION) == [
            f"Quota 'ml.x.y for training job usage' is not listed for us-east-1, and the plan needs 1; look for it at "
            f"{PAGE}."
        ]


def test_known_code_spares_the_list() -> None:
    name = "ml.g4dn.xlarge for training job usage"
    quota = {"QuotaName": name, "QuotaCode": "L-3F53BF0F", "Value": 1.0}
    with served("service-quotas", {"GetServiceQuota": lambda request: {"Quota": quota}}) as client:
        assert quotas.check({name: 1}, client, lp.REGION) == []
        assert quotas.check({name: 2}, client, lp.REGION)[0].endswith(f"{PAGE}/L-3F53BF0F.")


def test_code_that_is_another_quotas_now_is_not_believed() -> None:
    name = "ml.g4dn.xlarge for training job usage"
    quota = {"QuotaName": "something else", "QuotaCode": "L-3F53BF0F", "Value": 9.0}
    answers = {"GetServiceQuota": lambda request: {"Quota": quota}, "ListServiceQuotas": listed((name, "L-9", 0.0))}
    with served("service-quotas", answers) as client:
        assert quotas.check({name: 1}, client, lp.REGION)[0].endswith(f"{PAGE}/L-9.")
    answers["GetServiceQuota"] = refuse("NoSuchResourceException")
    with served("service-quotas", answers) as client:
        assert quotas.check({name: 1}, client, lp.REGION)[0].endswith(f"{PAGE}/L-9.")


def test_missing_permission_is_one_sentence() -> None:
    with (
        served("service-quotas", {"ListServiceQuotas": refuse("AccessDeniedException")}) as client,
        pytest.raises(LaunchError, match=r"allow servicequotas:GetServiceQuota and .* by 'apply --no-quotas'\.$"),
    ):
        quotas.check({"ml.g5.2xlarge for training job usage": 1}, client, lp.REGION)


def test_missing_credentials_are_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    session = open_session(lp.REGION)
    wanted = "there are no AWS credentials; run 'aws configure' or 'aws sso login'."
    with pytest.raises(LaunchError, match=f"could not ask for quotas: {wanted}"):
        quotas.check({"ml.g5.2xlarge for training job usage": 1}, session.client("service-quotas"), lp.REGION)
    with pytest.raises(LaunchError, match=f"could not ask for prices: {wanted}"):
        LivePrices(session.client("pricing"), lp.REGION).instance_hour("ml.m5.large", TRAINING)
