"""Stands in for AWS's SMDDP: a backend of its name over gloo, which refuses what AWS's pages say that SMDDP refuses.

Put its root folder on the path. It counts the collectives, so that a test can tell that they went through here.
"""

from __future__ import annotations

import os
from collections import Counter
from datetime import timedelta
from typing import Any

import torch.distributed as dist

if os.environ.get("SM_CURRENT_INSTANCE_TYPE", "") not in ("ml.p4d.24xlarge", "ml.p4de.24xlarge"):
    raise RuntimeError("SMDDP does not support this instance type")

calls: Counter[str] = Counter()


class StandIn(dist.ProcessGroup):
    """A process group that hands the collectives of SMDDP on to gloo."""

    def __init__(self, store: dist.Store, rank: int, size: int, timeout: timedelta) -> None:
        super().__init__(rank, size)
        self._gloo = dist.ProcessGroupGloo(store, rank, size, timeout)

    def getBackendName(self) -> str:
        return "smddp"

    def barrier(self, opts: Any = None) -> dist.Work:
        if opts is not None and opts.device_ids:
            raise RuntimeError("SMDDP does not support: barrier(device_ids)")
        return self._gloo.barrier(opts) if opts is not None else self._gloo.barrier()

    def _allgather_base(self, *args: Any) -> dist.Work:
        raise RuntimeError("SMDDP does not support: _allgather_base")


def _passed_on(name: str) -> Any:
    def call(self: StandIn, *args: Any) -> dist.Work:
        calls[name] += 1
        return getattr(self._gloo, name)(*args)

    return call


for _name in ("allreduce", "allgather", "broadcast"):
    setattr(StandIn, _name, _passed_on(_name))


def _refused(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError("SMDDP does not support: new_group")


# ignite and others look it up here when they call it.
dist.new_group = _refused
dist.Backend.register_backend("smddp", StandIn, devices=["cpu"])
