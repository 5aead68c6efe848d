"""``python -m serve`` in the image, ``python -m sm_launch.container.serve`` elsewhere: the server until SIGTERM."""

from __future__ import annotations

import logging
import os
import sys

import uvicorn

from .app import create_app
from .errors import StartError
from .service import Service
from .settings import from_environment

# SageMaker sends SIGKILL 30 seconds after SIGTERM (docs, "Custom Inference Code with Hosting Services").
SHUTDOWN_SECONDS = 25


def main() -> int:
    """Serve; returns the exit code, 1 if the model cannot be served."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # PyTorch reads this at each torch.load: pickled code is refused whatever a bundle's own loader asks for.
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    # A bundle's folder is hashed at every start; compiled files would be surplus ones.
    sys.dont_write_bytecode = True
    try:
        settings = from_environment(os.environ)
    except StartError as error:
        logging.error("%s", error)
        return 1
    failed: list[bool] = []

    def stop() -> None:
        failed.append(True)
        server.should_exit = True

    service = Service(settings, stop)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(service),
            host=settings.host,
            port=settings.port,
            access_log=False,
            server_header=False,
            log_config=None,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )  # fmt: skip
    )
    server.run()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
