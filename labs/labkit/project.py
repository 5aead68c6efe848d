"""Where things lie: the project's folders, and the one folder that labs write to."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundle"
# In bundle/.
TRAIN = "configs/train.json"
LABS = ROOT / "labs"
# The bundle of lab 10, whose package is ``skin_lesions``.
SKIN_BUNDLE = LABS / "skin_lesion_bundle"
WORK_VARIABLE = "LABS_WORK"
# Everything that labs make goes here, so that lab 11 can find it; git ignores it.
WORK = Path(os.environ.get(WORK_VARIABLE) or LABS / "work").expanduser().resolve()


def make_importable() -> None:
    """Put the folders of ``scripts``, ``skin_lesions`` and ``sm_launch`` on the import path, once."""
    for folder in (str(ROOT), str(BUNDLE), str(SKIN_BUNDLE)):
        if folder not in sys.path:
            sys.path.insert(0, folder)


def work(name: str, fresh: bool = False) -> Path:
    """A lab's own folder for what it writes.

    Args:
        name: the lab's number, such as ``"03"``, or the name of something that several labs share.
        fresh: empty the folder first, so that a lab measures what it does and not what an earlier run left.

    Returns:
        The folder, which exists.
    """
    folder = WORK / name
    if fresh and folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
