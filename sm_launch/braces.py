"""Folders that a job's container fills in, by braces or by knobs of a channel: each must be one of the job's."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from sm_launch.errors import LaunchError
from sm_launch.rules_storage import texts

# As container/instructions.py reads them; a channel of a training is an input to it.
_NAMED = re.compile(r"\{(channel|input|output):([\w.-]+)\}")


def check_braces(value: Any, where: str, inputs: Collection[str], outputs: Collection[str] = ()) -> None:
    """Find a folder that the job would not have, which nothing tells before its machines are paid for.

    Args:
        value: overrides or arguments, with braces in their texts.
        where: their place in the spec.
        inputs: names of the job's channels or inputs.
        outputs: names of its outputs.

    Raises:
        LaunchError: braces name none of them.
    """
    for path, text in texts(value):
        for kind, name in _NAMED.findall(text):
            known = outputs if kind == "output" else inputs
            if name not in known:
                there = ", ".join(f"{{{kind}:{one}}}" for one in known) or f"no {kind} at all"
                raise LaunchError(
                    f"{where}{'' if path.startswith('[') else '.'}{path} has {{{kind}:{name}}}, and the job has "
                    f"{there}; correct the name."
                )


def check_knobs(knobs: Mapping[str, str], channels: Collection[str]) -> None:
    """The same for ``train.channel_knobs``.

    Args:
        knobs: knob to the channel whose folder it names.
        channels: those of ``train.channels``.

    Raises:
        LaunchError: a knob names none of them.
    """
    for knob, channel in knobs.items():
        if channel not in channels:
            raise LaunchError(
                f"train.channel_knobs.{knob} is '{channel}', and train.channels has {', '.join(channels) or 'none'}; "
                "add it there, or correct the name."
            )
