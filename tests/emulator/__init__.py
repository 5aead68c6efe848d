"""An AWS account on this machine, for tests: SageMaker, its runtime, FSx, quotas and prices by the modules here, the
rest by moto's server. Jobs and containers really run, by ``sm_launch.local``.

    with aws() as account:
        account.session().client("sagemaker").create_training_job(...)

Requests are held against botocore's model of the API, and so are the answers given here: an answer that does not fit,
or anything that breaks inside, fails the test when the account closes.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator import (  # noqa: F401 - each registers its operations
    configurations,
    endpoints,
    filesystems,
    models,
    pricing,
    processing,
    quotas,
    tags,
    training,
    transform,
    tuning,
)
from emulator.accounts import PRINCIPAL
from emulator.containers import ANY_IMAGE, SERVING_CONTAINER
from emulator.faults import Faults
from emulator.guard import loopback_only
from emulator.leftover import Left, everything_left
from emulator.others import PLATFORM, moto
from emulator.shapes import boto_session, shared_models
from emulator.wire import SERVICES, serving
from emulator.world import ACCOUNT, World

__all__ = ["ACCOUNT", "Account", "ANY_IMAGE", "Left", "aws"]

REGION = "us-east-1"
ROLE = "sm-launch-test"
OWN = (*SERVICES, "sagemaker-runtime")
# Lets an ended training job's connection errors show at once; boto3 would wait for seconds between its attempts.
ATTEMPTS = "3"


@dataclass
class Account:
    """The account as a test sees it.

    Attributes:
        env: variables under which boto3 of any process reaches this account and nothing else.
        region: its region.
        role: ARN of a role that SageMaker may take.
        faults: what is to go wrong.
        world: its inside: tables, calls.
    """

    env: Mapping[str, str]
    region: str
    role: str
    faults: Faults
    world: World

    def session(self, region: str | None = None) -> Any:
        """A boto3 session; its clients find the account by ``env``, which is in force while the account is open."""
        return boto_session(region or self.region, self.env["AWS_ACCESS_KEY_ID"])

    def everything_left(self) -> list[Left]:
        """All that exists, but the account's own role."""
        own = Left("iam", "role", ROLE)
        return [each for each in everything_left(self.world) if each != own]


@contextmanager
def aws(
    region: str = REGION,
    serve_command: Sequence[str] | Mapping[str, Sequence[str]] = SERVING_CONTAINER,
    folder: Path | None = None,
    **settings: Any,
) -> Iterator[Account]:
    """Open an account with nothing in it but a role.

    Args:
        region: its region.
        serve_command: what hosting images start: for all, or by image; this project's serving container by default.
        folder: where jobs work; a temporary one by default.
        settings: other attributes of :class:`emulator.world.World`, such as ``pace`` or ``payload_limit``.

    Raises:
        AssertionError: at its end, if an answer did not fit the API's model or something broke inside.
    """
    commands = serve_command if isinstance(serve_command, Mapping) else {ANY_IMAGE: serve_command}
    with ExitStack() as stack:
        stack.enter_context(loopback_only())
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aws-", ignore_cleanup_errors=True)))
        faults = Faults()
        elsewhere = stack.enter_context(moto(faults))
        world = World(folder, region, _client_maker(elsewhere, region), commands, faults=faults, **settings)
        here = stack.enter_context(serving(world))
        env = _environment(region, elsewhere, here, folder)
        stack.enter_context(_in_force(env))
        stack.enter_context(shared_models())
        role = _make_role(world)
        try:
            yield Account(env, region, role, faults, world)
        finally:
            world.close()
    assert not world.complaints, "the emulator broke:\n" + "\n".join(world.complaints)


def _client_maker(url: str, region: str) -> Any:
    """What gives the emulator itself clients of moto, past the faults of tests: its platform is not the user."""
    from botocore.config import Config

    made: dict[str, Any] = {}
    lock = threading.Lock()
    session = boto_session(region, PLATFORM)
    # The region's name, not us-east-1's global endpoint; a user's settings must not reach in here.
    config = Config(retries={"max_attempts": 3}, s3={"addressing_style": "path"}, proxies={})

    def client(service: str) -> Any:
        # Clients may be shared by threads; making them may not (boto3's guide, "Multithreading").
        with lock:
            if service not in made:
                made[service] = session.client(service, endpoint_url=url, config=config)
            return made[service]

    return client


def _environment(region: str, elsewhere: str, here: str, folder: Path) -> dict[str, str]:
    nowhere = str(folder / "no-such-file")
    return {
        "AWS_ENDPOINT_URL": elsewhere,
        **{f"AWS_ENDPOINT_URL_{name.replace('-', '_').upper()}": here for name in OWN},
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_SESSION_TOKEN": "testing",
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": nowhere,
        "AWS_SHARED_CREDENTIALS_FILE": nowhere,
        "AWS_MAX_ATTEMPTS": ATTEMPTS,
        "NO_PROXY": "*",
        "no_proxy": "*",
    }


@contextmanager
def _in_force(env: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _make_role(world: World) -> str:
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": PRINCIPAL}, "Action": "sts:AssumeRole"}],
    }
    return world.clients("iam").create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
