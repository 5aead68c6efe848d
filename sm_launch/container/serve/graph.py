"""Which parts of a config depend on the case, and which say where to write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from monai.bundle import ReferenceResolver

OUTPUT_DIR = "output_dir"
SAVERS = ("SaveImage", "SaveImaged", "SaveImageD", "SaveImageDict")


def output_ids(config: Mapping[str, Any]) -> list[str]:
    """Ids of everything that says where to write: ``output_dir`` on top, and that of every component."""
    found = [OUTPUT_DIR] if OUTPUT_DIR in config else []

    def visit(content: Any, id: str) -> None:
        if not isinstance(content, (dict, list)):
            return
        if isinstance(content, dict) and "_target_" in content:
            # A saver that is told no folder writes into the working directory.
            saves = str(content["_target_"]).rpartition(".")[2] in SAVERS
            if OUTPUT_DIR in content or saves:
                found.append(f"{id}{ReferenceResolver.sep}{OUTPUT_DIR}")
        for _, sub_id, value in ReferenceResolver.iter_subconfigs(id, content):
            visit(value, sub_id)

    for key, value in config.items():
        visit(value, key)
    return found


def dependents(configs: Mapping[str, Any], changed: Iterable[str]) -> set[str]:
    """All ids whose value may be another once those of ``changed`` are.

    Args:
        configs: every id of a parsed config with its unresolved content.
        changed: ids that get another value.
    """
    sep = ReferenceResolver.sep
    stale = set(changed)
    stale |= {id for id in configs if any(id.startswith(root + sep) or root.startswith(id + sep) for root in stale)}
    references = {
        id: {ReferenceResolver.normalize_id(ref) for ref in ReferenceResolver.find_refs_in_config(config, id)}
        for id, config in configs.items()
        if id
    }
    while grown := {id for id, refs in references.items() if id not in stale and refs & stale}:
        stale |= grown
    return stale
