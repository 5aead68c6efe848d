"""Check cells of lab 03."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

from monai.data import SmartCacheDataset

from .caches import smart_cache
from .checks import answered, counted, hint, require, right

KEY_PARTS = ("paths of the files", "size and date of the files", "deterministic transforms", "random transforms")


def check_waiting_share(waiting_share: Callable[[float, float], float]) -> None:
    """Seconds of waiting and of work to the share of waiting."""
    result = counted(waiting_share, 14.4, 1.2)
    require(0 <= result <= 1, f"waiting_share(14.4, 1.2) is {result:g}; a share lies between 0 and 1.")
    require(
        not math.isclose(result, 1.2 / 15.6),
        "that is the share of working; how much of the whole time does the network do nothing?",
    )
    require(math.isclose(result, 14.4 / 15.6), "divide the time of waiting by the whole time: what is the whole?")
    require(counted(waiting_share, 0.0, 1.0) == 0, "a network that never waits has a share of 0.")
    right(f"14.4 of 15.6 s is {result:.0%}: in that published log four GPUs did nothing for that share of an epoch.")


def check_smart_epochs(train: Callable[[SmartCacheDataset, int], Collection[Any]]) -> None:
    """A loop over epochs that returns all items it met, tried on ten small numbers."""
    answered(train)
    dataset = smart_cache(range(10))
    try:
        met = train(dataset, 12)
        if met is None:
            hint("the function returns nothing yet; return the set of the items it met.")
        require(len(met) > 5, "it met the same 5 of 10 items in all epochs; which calls move the cache on?")
        require(
            set(met) == set(range(10)), f"it met {len(met)} of 10 items in 12 epochs; exchange some in every epoch."
        )
        require(
            not dataset.is_started(), "the thread that prepares replacements still runs; end it after the last epoch."
        )
    finally:
        if dataset.is_started():
            dataset.shutdown()
    right("Call start, update_cache after every epoch, shutdown: without them half of the data is never seen.")


def check_cache_key(parts: Collection[str]) -> None:
    """What the name of a cached file has to depend on, out of ``KEY_PARTS``."""
    chosen = set(answered(parts))
    unknown = chosen - set(KEY_PARTS)
    require(not unknown, f"{sorted(unknown)} cannot be chosen; take from {list(KEY_PARTS)}.")
    paths, files, fixed, random = KEY_PARTS
    require(
        random not in chosen, "one of these runs after the cache has been read: changing it must not throw work away."
    )
    require(fixed in chosen, "change the voxel size: which part would give the cached file another name?")
    require(files in chosen, "a label is corrected and keeps its name: which part would notice?")
    require(paths in chosen, "two cases may have files of one size and date: what tells them apart?")
    right("A cached file stands for its inputs: these files, as they are, through these fixed transforms.")


def check_cache_rate(cache_rate: Callable[[int, float, float], float]) -> None:
    """Cases, MB of a case and GB of memory for the cache to the knob ``cache_rate``."""
    result = counted(cache_rate, 484, 50.0, 12.1)
    require(not math.isclose(result, 12.1 / (484 * 50.0)), "MB and GB are mixed: 12.1 GB are 12,100 MB.")
    require(
        math.isclose(result, 0.5), f"484 cases of 50 MB are 24.2 GB, and you may use 12.1 GB; {result:g} does not fit."
    )
    ample = counted(cache_rate, 10, 50.0, 12.1)
    require(
        ample == 1, f"ten such cases fit easily, yet you say {ample:g}; how much of a data set can be cached at most?"
    )
    right("The share that fits, and never more than all of it; the rest is read anew in every epoch.")
