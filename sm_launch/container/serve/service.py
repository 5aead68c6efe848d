"""The model behind the server: loaded and warmed in the background, then one inference at a time."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from .artifact import verified
from .errors import Refusal, StartError, is_out_of_memory
from .settings import Settings

logger = logging.getLogger(__name__)


class Service:
    """Loads the model, and answers requests one by one in a thread of its own.

    Args:
        settings: of the container.
        on_failure: called once from the loading thread if the model cannot be served.
    """

    def __init__(self, settings: Settings, on_failure: Callable[[], None]) -> None:
        self.settings = settings
        self.ready = False
        self._on_failure = on_failure
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")
        self._admitted = 0

    def start(self) -> None:
        """Begin to load; ``ready`` tells when it is done."""
        self._thread.submit(self._load)

    def stop(self) -> None:
        """Drop what waits; what is being computed is computed to its end."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _load(self) -> None:
        began = time.monotonic()
        try:
            artifact = verified(self.settings.model_dir, self.settings.manifest_sha256)
            root = artifact.bundle
            if absent := [name for name in self.settings.configs if not (root / name).is_file()]:
                raise StartError(f"{absent[0]} is not in the bundle; set BUNDLE_CONFIG to its inference config.")
            # PyTorch and MONAI take seconds to import, in which the server answers /ping already.
            from .bundle import ServedBundle
            from .contract import read_contract, write_sample
            from .request import CASE

            self.contract = read_contract(root)
            self.bundle = ServedBundle(
                root, self.settings.configs, self.settings.run_id, self.settings.overrides, artifact.overrides
            )
            with tempfile.TemporaryDirectory(prefix="warm-up-") as name:
                folder = Path(name)
                if self.settings.warmup_input:
                    image = self._given_sample(root, folder / "input")
                else:
                    image = write_sample(self.contract, folder / "input", CASE)
                self.bundle.warm_up([image], folder / "output")
        except StartError as error:
            logger.error("%s", error)
            self._on_failure()
        except BaseException:
            logger.exception("the model cannot be served: a first case failed (WARMUP_INPUT sets another)")
            self._on_failure()
        else:
            self.ready = True
            logger.info("ready after %.1f s", time.monotonic() - began)

    def _given_sample(self, root: Path, folder: Path) -> Path:
        from .request import CASE

        source = root / self.settings.warmup_input
        if not source.is_file():
            raise StartError(f"WARMUP_INPUT {self.settings.warmup_input} is not in the bundle; name one of its files.")
        folder.mkdir(parents=True)
        suffix = ".nii.gz" if source.name.endswith(".nii.gz") else source.suffix
        return Path(shutil.copyfile(source, folder / f"{CASE}{suffix}"))

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Hold a place among the requests that are computed or wait.

        Raises:
            Refusal: 503 before the model is ready, 429 if all places are taken.
        """
        if not self.ready:
            raise Refusal(503, "The model is not loaded yet; try again in a minute.")
        if self._admitted > self.settings.max_queue:
            raise Refusal(429, "The server is computing other images and its queue is full; try again later.")
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    async def answer(self, body: Path, folder: Path, kind: str | None, as_json: bool) -> tuple[bytes, str]:
        """Wait for the turn of a received body, and compute.

        Returns:
            Body and media type of the answer.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._compute, body, folder, kind, as_json)

    def _compute(self, body: Path, folder: Path, kind: str | None, as_json: bool) -> tuple[bytes, str]:
        import torch

        from .answers import answer
        from .request import checked_input

        began = time.monotonic()
        images = checked_input(body, folder / "input", kind, self.contract, self.settings)
        checked = time.monotonic()
        try:
            outcome = self.bundle.run(images, folder / "output")
            result = answer(outcome, as_json, self.contract.classes, folder)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            logger.exception("out of memory")
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            raise Refusal(413, "The image does not fit the server's memory; send a smaller one.") from error
        ended = time.monotonic()
        logger.info("checked in %.2f s, computed in %.2f s, %d bytes", checked - began, ended - checked, len(result[0]))
        return result


@asynccontextmanager
async def temporary_folder() -> AsyncIterator[Path]:
    """A private folder for a request, removed after it."""
    loop = asyncio.get_running_loop()
    folder = Path(tempfile.mkdtemp(prefix="request-"))
    try:
        yield folder
    finally:
        await loop.run_in_executor(None, lambda: shutil.rmtree(folder, ignore_errors=True))
