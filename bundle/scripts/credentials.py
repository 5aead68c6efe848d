"""Credentials come from the environment alone: refused as knobs, and struck out of what is logged."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from scripts.errors import InputError

# Names whose value is a credential; plurals such as num_tokens are counts.
NAME = re.compile(r"(^|_)(password|passwd|secret|token|credential)$|(api|access|secret|private|auth)_?key(_id)?$", re.I)
# Values that give themselves away: a W&B key (40 hexadecimal digits, or its prefix), an AWS key id.
VALUE = re.compile(r"(local-)?[0-9a-f]{40}|wandb_v\d_\S+|(AKIA|ASIA)[0-9A-Z]{16}")
ADDRESS = re.compile(r"(?P<scheme>\w+://)[^\s/@]+@|(?P<name>[?&](password|token|secret|api_?key)=)[^&\s]+", re.I)
STRUCK = "***"
# Shorter values of such variables are words like "true", not credentials.
MIN_LENGTH = 8


def refuse_credentials(config: Mapping[str, Any]) -> None:
    """Refuse a config that holds a password or a key: it is written to run folders, model.json and trackers.

    Raises:
        InputError: naming the entry, never its value.
    """
    for name, value in _leaves(config):
        last = name.split("::")[-1]
        if not isinstance(value, (str, int)) or isinstance(value, bool) or value == "":
            continue
        if NAME.search(last) or VALUE.fullmatch(str(value)) or ADDRESS.search(str(value)):
            raise InputError(
                f"'{name}' looks like a password or key, and configs are stored with every run; leave it out and set "
                "the tracker's environment variable instead (WANDB_API_KEY; MLFLOW_TRACKING_URI, "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_TOKEN)."
            )


def strike_out(text: str) -> str:
    """``text`` without passwords in addresses and without the values of credential variables of the environment."""
    for name, value in os.environ.items():
        if len(value) >= MIN_LENGTH and NAME.search(name):
            text = text.replace(value, STRUCK)
    return ADDRESS.sub(lambda found: f"{found['scheme']}{STRUCK}@" if found["scheme"] else found["name"] + STRUCK, text)


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every plain value inside ``value``, under the name of its nearest entry."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if key != "_desc_":
                yield from _leaves(entry, f"{name}::{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _leaves(entry, name)
    else:
        yield name, value
