"""What made the probabilities of a folder, in a file beside them: rules are tuned on those of the very model alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from scripts import distributed
from scripts.checkpoints import MODEL_FILE, sha256
from scripts.ensemble import Members
from scripts.errors import InputError
from scripts.files import read_json, write_json
from scripts.naming import listed

ORIGIN_FILE = "probabilities.json"


class NoteOrigin:
    """Evaluator handler: writes which weights made the probabilities of which cases, and how, when all are written.

    An earlier note goes at the start: a run that is broken off leaves none, as the folder then holds files of both.

    Args:
        members: the trainings that predict.
        output_dir: folder of the probabilities.
        settings: knobs that change them, such as the overlap of windows.
    """

    def __init__(self, members: Members, output_dir: str, settings: Mapping[str, Any]) -> None:
        self.members = members
        self.file = Path(output_dir) / ORIGIN_FILE
        self.settings = dict(settings)
        self.digests: list[str] = []
        self.cases: list[str] = []

    def attach(self, engine: Engine) -> None:
        """Register at start, after each case (after the handler that writes it) and at the end."""
        engine.add_event_handler(Events.STARTED, self.begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.note)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def begin(self, _: Engine) -> None:
        """Take the digests of the weights that are loaded now."""
        self.cases.clear()
        self.digests = [sha256(Path(folder) / MODEL_FILE) for folder in self.members.folders]
        if distributed.rank() == 0:
            self.file.unlink(missing_ok=True)

    def note(self, engine: Engine) -> None:
        """Remember the cases of this batch."""
        self.cases += [item["case"] for item in engine.state.batch]

    def write(self, _: Engine) -> None:
        """Gather the cases of all processes and write the file on rank 0."""
        cases = sorted(distributed.gathered(self.cases))
        if distributed.rank() == 0:
            write_json(self.file, {"sha256": self.digests, "cases": cases, "settings": self.settings})


def read_settings(folder: Path, sha256: str, cases: Sequence[str]) -> dict[str, Any]:
    """The settings by which one model made the probabilities of a folder.

    Args:
        folder: of the probabilities.
        sha256: digest of the model's weights.
        cases: whose probabilities are wanted.

    Raises:
        InputError: there is no note, or other weights or several models made them, or not those of all ``cases``.
    """
    file = folder / ORIGIN_FILE
    remedy = "run evaluate.json with --evaluate_on validation --save_probabilities True again"
    if not file.is_file():
        raise InputError(f"{file}: is not there, so what made the probabilities beside it is not known; {remedy}.")
    note = read_json(file, "note of what made the probabilities")
    kinds = {"sha256": list, "cases": list, "settings": dict}
    if not isinstance(note, dict) or not all(isinstance(note.get(name), kind) for name, kind in kinds.items()):
        raise InputError(f"{file}: is no note with {', '.join(kinds)}; {remedy}.")
    if note["sha256"] != [sha256]:
        raise InputError(f"{file}: the probabilities beside it were made by other weights than the model's; {remedy}.")
    if others := sorted(set(cases) - set(note["cases"])):
        raise InputError(f"{file}: does not tell of {listed(others)}, whose probabilities are older; {remedy}.")
    return note["settings"]
