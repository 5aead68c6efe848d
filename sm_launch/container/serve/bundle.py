"""A bundle's inference config, parsed once and run for one case after another.

What a config does with its input is spread over everything in it: datalist, dataset, transforms that invert each other,
handlers that save. Calling ``preprocessing``, ``inferer`` and ``postprocessing`` by hand would leave out the handlers
(this project's bundle saves in one, the Zoo's in a transform) and everything an evaluator does between them; running
``monai.bundle run`` for each request would build the network and read its weights each time.

So the config itself is run, whole, for each case, by its own ``run`` entry, on a parser that forgets only what depends
on the case. MONAI's resolver keeps every object it has made by id. The ids that change are ``dataset_dir``,
``dataset::data`` and every ``output_dir``; what refers to one of them, directly or through others, is made anew (a
dataset, a loader, an evaluator, the saving transform: milliseconds), and everything else (network, inferer with what it
has compiled, preprocessing) stays the object that it was. No bundle has to know that it is served, and answers equal
``python -m monai.bundle run`` because they come from the same objects, made from the same config.

The case reaches the config by the standard property ``dataset_dir``, a folder that holds nothing else, if the config
finds exactly one case there; otherwise (a Zoo config that looks for ``imagesTs/``, or reads a datalist file) by the
standard property ``dataset_data`` (``dataset::data``), as ``[{"image": file}]``, or a list of files where a case has
one a modality.

Handlers that load weights fire at the start of every run. They have done so when the model is warm, and are left out
from then on.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser, ConfigWorkflow, ReferenceResolver
from monai.data import Dataset
from monai.utils import CommonKeys

from .errors import Refusal, StartError, is_out_of_memory
from .graph import OUTPUT_DIR, dependents, output_ids
from .outcome import Outcome, prediction

logger = logging.getLogger(__name__)

DATASET_DIR, DATASET, DATA = "dataset_dir", "dataset", "dataset::data"
EVALUATOR, HANDLERS, NETWORK = "evaluator", "handlers", "network_def"
# What a config is started by: MONAI's default, and the name in ``monai.bundle init_bundle``'s template.
RUN_IDS = ("run", "evaluating")


class ServedBundle:
    """A bundle that answers one case at a time; not for several threads at once.

    Args:
        root: the bundle's folder.
        configs: its config files, relative to it, merged in this order.
        run_id: the entry to run; empty takes the first of ``RUN_IDS`` that the config has.
        overrides: config ids and values.
        trained: what the training overrode; what of it shapes the network, the inference needs too.

    Raises:
        StartError: the config has nothing to run.
    """

    def __init__(
        self,
        root: Path,
        configs: Sequence[str],
        run_id: str,
        overrides: Mapping[str, Any],
        trained: Mapping[str, Any],
    ) -> None:
        # As MONAI does when it runs a config: the bundle's own Python is found first.
        sys.path.insert(0, str(root))
        self.workflow = ConfigWorkflow(
            config_file=[str(root / name) for name in configs],
            workflow_type="infer",
            logging_file=False,
            **({"bundle_root": str(root)} | dict(overrides)),
        )
        self.parser = self.workflow.parser
        for id, value in trained.items():
            # A config that takes the network from the training's own record has no such entry.
            if id.split(ReferenceResolver.sep)[0] == NETWORK and id not in overrides and id in self.parser:
                self.parser[id] = value
        run_ids = [name for name in ((run_id,) if run_id else RUN_IDS) if name in self.parser]
        if not run_ids:
            raise StartError(
                f"the config has no {run_id or ' or '.join(RUN_IDS)} to run; set RUN_ID to what starts it."
            )
        self.workflow.run_id = run_ids[0]
        self._warm = False
        self._lists_cases = False
        self._case_ids: dict[str, Any] = {}
        self._stale: set[str] = set()
        self._output_ids: list[str] = []

    def warm_up(self, images: Sequence[Path], output_dir: Path) -> Outcome:
        """Initialise the workflow and run a first case, which loads the weights.

        Args:
            images: the case's file, or its files, alone in their folder.
            output_dir: folder for what is written.
        """
        if DATASET_DIR in self.parser:
            self.parser[DATASET_DIR] = str(images[0].parent)
        if OUTPUT_DIR in self.parser:
            self.parser[OUTPUT_DIR] = str(output_dir)
        if f"dataloader::{DATASET}" in self.parser:
            # Worker processes would be forked from a threaded server for a single case each.
            self.parser["dataloader::num_workers"] = 0
        self._output_ids = output_ids(self.parser.get())
        self.workflow.initialize()
        self._case_ids = {DATA: deepcopy(self.parser[DATA])} if DATA in self.parser else {}
        changed = {*self._output_ids, *self._case_ids, *([DATASET_DIR] if DATASET_DIR in self.parser else [])}
        # A parser of its own: what the workflow's has made already, such as a network filled by initialize, stays.
        fresh = ConfigParser(deepcopy(self.parser.get()))
        fresh.parse()
        self._stale = dependents({id: item.get_config() for id, item in fresh.ref_resolver.items.items()}, changed)
        self._lists_cases = self._finds_one(images, output_dir)
        outcome = self.run(images, output_dir)
        self._warm = True
        return outcome

    def run(self, images: Sequence[Path], output_dir: Path) -> Outcome:
        """Run the config for one case.

        Args:
            images: the case's file, or its files, alone in their folder.
            output_dir: folder for what is written, made if absent.

        Raises:
            Refusal: 400, the bundle's own reading or preprocessing fails on this image.
        """
        output_dir.mkdir(parents=True, exist_ok=True)
        # What a bundle notes about a case in its user's cache must not outlive the request.
        os.environ["XDG_CACHE_HOME"] = str(output_dir.parent / "cache")
        try:
            self._preprocess(images, output_dir)
            engine = self._evaluate()
            files = sorted(file for file in output_dir.rglob("*") if file.is_file())
            return Outcome(tuple(files), prediction(engine))
        finally:
            # Nothing of the case stays in memory.
            self._forget()

    def _evaluate(self) -> Engine | None:
        """Run the config's entry; its evaluator, if it has one."""
        engine = self.parser.get_parsed_content(EVALUATOR) if EVALUATOR in self.parser else None
        if self._warm and engine is not None:
            self._leave_out_loaders(engine)
        # MONAI puts the bundle's folder on the path once more at each run.
        path = list(sys.path)
        try:
            self.workflow.run()
        finally:
            sys.path[:] = path
        return engine

    def _forget(self) -> None:
        """Forget all that depends on a case; what was resolved of it lies in the parsed items too."""
        resolver = self.parser.ref_resolver
        kept = {id: value for id, value in resolver.resolved_content.items() if id not in self._stale}
        self.parser.parse(reset=True)
        resolver.resolved_content.update(kept)

    def _point(self, images: Sequence[Path], output_dir: Path, listed: bool) -> None:
        """Let the config see this case and nothing of another."""
        resolved = self.parser.ref_resolver.resolved_content
        if DATASET_DIR in self.parser:
            self.parser[DATASET_DIR] = str(images[0].parent)
        for id in self._output_ids:
            self.parser[id] = str(output_dir)
        files = [str(image) for image in images]
        for id, value in self._case_ids.items():
            self.parser[id] = (
                deepcopy(value) if listed else [{CommonKeys.IMAGE: files[0] if len(files) == 1 else files}]
            )
        # Setting a value has the resolver drop everything that it made.
        self.parser.ref_resolver.resolved_content = resolved
        self._forget()

    def _finds_one(self, images: Sequence[Path], output_dir: Path) -> bool:
        """Whether the config finds the one case in the folder by itself."""
        if not self._case_ids:
            return True
        self._point(images, output_dir, listed=True)
        try:
            return len(self.parser.get_parsed_content(DATASET)) == 1
        except Exception:
            logger.info("the config does not find a case in dataset_dir; it is told by %s", DATA, exc_info=True)
            return False

    def _preprocess(self, images: Sequence[Path], output_dir: Path) -> None:
        """Read and preprocess the case here, so that a fault of the image is told from one of the model.

        Raises:
            Refusal: 400.
        """
        try:
            self._point(images, output_dir, self._lists_cases)
            if DATASET not in self.parser:
                return
            dataset = self.parser.get_parsed_content(DATASET)
            if len(dataset) != 1 and self._case_ids:
                # A pattern such as *.jpeg finds no .png.
                self._point(images, output_dir, listed=False)
                dataset = self.parser.get_parsed_content(DATASET)
            items = [dataset[index] for index in range(len(dataset))]
        except Exception as error:
            if not self._warm or is_out_of_memory(error):
                raise
            logger.exception("preprocessing failed")
            raise Refusal(
                400, "The bundle's preprocessing does not take this image; check its kind and grid."
            ) from error
        self.parser.ref_resolver.resolved_content[DATASET] = Dataset(items)

    def _leave_out_loaders(self, engine: Engine) -> None:
        handlers = self.parser.get_parsed_content(HANDLERS) if HANDLERS in self.parser else []
        for handler in handlers or ():
            if holds(handler, engine.network) and engine.has_event_handler(handler, Events.STARTED):
                engine.remove_event_handler(handler, Events.STARTED)


def holds(handler: Any, network: torch.nn.Module) -> bool:
    """Whether a handler has the network among its attributes, or in a dict of them as ``CheckpointLoader`` does."""
    values = getattr(handler, "__dict__", {}).values()
    return any(
        value is network or isinstance(value, dict) and any(v is network for v in value.values()) for value in values
    )
