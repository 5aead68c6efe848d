"""The service quotas that a plan needs, asked before anything is uploaded: a new account has 0 of most GPU types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from sm_launch import aws
from sm_launch.errors import LaunchError
from sm_launch.images import partition
from sm_launch.steps import Plan
from sm_launch.table import table
from sm_launch.views import TRAINING, fleets

if TYPE_CHECKING:
    from botocore.client import BaseClient

_SPOT, _WARM_POOL = "spot", "warm_pool"
_CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


def needed(plan: Plan) -> dict[str, int]:
    """Machines that the plan runs at once, by the name of the quota that counts them.

    Steps run one after the other, so jobs of one kind need the largest count; endpoints and warm pools stay, so theirs
    add up.
    """
    names = table("quotas")["names"]
    wanted: dict[str, int] = {}
    for fleet in fleets(plan):
        machines = fleet.count * min(fleet.parallel, fleet.jobs)
        if fleet.use == TRAINING:
            name = names[_SPOT if fleet.spot else TRAINING].format(type=fleet.instance_type)
            wanted[name] = max(wanted.get(name, 0), machines)
            if fleet.keep_alive_s:
                name = names[_WARM_POOL].format(type=fleet.instance_type)
                wanted[name] = wanted.get(name, 0) + machines
            continue
        name = names[fleet.use].format(type=fleet.instance_type)
        stays = fleet.max_runtime_s is None and fleet.step.kind.startswith("endpoint")
        wanted[name] = wanted.get(name, 0) + machines if stays else max(wanted.get(name, 0), machines)
    return wanted


def check(wanted: Mapping[str, int], client: BaseClient, region: str) -> list[str]:
    """Quotas that are too low, one sentence each with the page to ask for more; untested on AWS.

    Args:
        wanted: what ``needed`` says.
        client: boto3's service-quotas client in the jobs' region; needs servicequotas:GetServiceQuota and
            servicequotas:ListServiceQuotas.
        region: the jobs' region.

    Raises:
        LaunchError: there are no credentials, or AWS refuses the question.
    """
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        found = _found(wanted, client)
    except NoCredentialsError as error:
        raise LaunchError(f"could not ask for quotas: {aws.NO_CREDENTIALS}") from error
    except (ClientError, BotoCoreError) as error:
        raise LaunchError(
            f"Service Quotas doesn't answer ({error}); allow servicequotas:GetServiceQuota and "
            f"servicequotas:ListServiceQuotas, or apply without them by 'apply --no-quotas'."
        ) from error
    return list(_too_low(wanted, found, region))


def _found(wanted: Mapping[str, int], client: BaseClient) -> dict[str, tuple[str, float]]:
    """Code and value of each quota: by its code where the table knows it, else by walking the account's list."""
    service, codes = table("quotas")["service"], table("quotas")["codes"]
    found: dict[str, tuple[str, float]] = {}
    for name in wanted:
        if name in codes:
            quota = _by_code(client, service, codes[name])
            # A code that AWS gave to another quota since is worth nothing.
            if quota.get("QuotaName") == name:
                found[name] = (quota["QuotaCode"], quota["Value"])
    # The account's own values first; a quota that was never touched is only among the defaults.
    for operation in ("list_service_quotas", "list_aws_default_service_quotas"):
        missing = set(wanted) - set(found)
        if not missing:
            break
        for page in client.get_paginator(operation).paginate(ServiceCode=service):
            for quota in page["Quotas"]:
                if quota["QuotaName"] in missing:
                    found[quota["QuotaName"]] = (quota["QuotaCode"], quota["Value"])
    return found


def _by_code(client: BaseClient, service: str, code: str) -> Mapping:
    from botocore.exceptions import ClientError

    try:
        return client.get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchResourceException":
            return {}
        raise


def _too_low(wanted: Mapping[str, int], found: Mapping[str, tuple[str, float]], region: str) -> Iterator[str]:
    service = table("quotas")["service"]
    host = _CONSOLES.get(partition(region)[0], _CONSOLES["aws"])
    page = f"https://{region}.{host}/servicequotas/home/services/{service}/quotas"
    for name, count in wanted.items():
        if name not in found:
            yield f"Quota {name!r} is not listed for {region}, and the plan needs {count}; look for it at {page}."
            continue
        code, value = found[name]
        if value < count:
            yield f"Quota {name!r} is {value:g} in {region}, and the plan needs {count}; ask for more at {page}/{code}."
