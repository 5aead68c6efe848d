"""The HTTP side: what SageMaker calls, with every answer that is not a prediction being one JSON sentence."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from .body import Body
from .errors import Refusal
from .service import Service, temporary_folder
from .settings import MB

logger = logging.getLogger(__name__)

# CreateTransformJob: MaxPayloadInMB times MaxConcurrentTransforms is at most 100 (its API reference page).
TRANSFORM_PAYLOAD_MB = 100


def create_app(service: Service) -> FastAPI:
    """The application around a service, which is started and stopped with it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.stop()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/ping")
    async def ping() -> Response:
        """200 once a first case has been computed."""
        return Response(status_code=200 if service.ready else 503)

    @app.get("/execution-parameters")
    async def execution_parameters() -> dict[str, object]:
        """What batch transform asks before it sends anything."""
        return {
            "MaxConcurrentTransforms": 1,
            "BatchStrategy": "SINGLE_RECORD",
            "MaxPayloadInMB": min(TRANSFORM_PAYLOAD_MB, service.settings.max_body_bytes // MB),
        }

    @app.post("/invocations")
    async def invocations(request: Request) -> Response:
        """The prediction for the image in the body."""
        body = Body(request, service.settings)
        try:
            content, media_type = await _predicted(request, body)
        except Refusal as refusal:
            logger.warning("%d: %s", refusal.status, refusal.sentence)
            await body.drain()
            return JSONResponse({"error": refusal.sentence}, refusal.status)
        except Exception:
            logger.exception("the inference failed")
            return JSONResponse({"error": "The inference failed; the container's log says why."}, 500)
        return Response(content, media_type=media_type)

    async def _predicted(request: Request, body: Body) -> tuple[bytes, str]:
        async with service.admitted(), temporary_folder() as folder:
            # Imported late: these bring PyTorch, and /ping answers while it is being loaded.
            from .answers import wants_json
            from .request import content_kind

            kind = content_kind(request.headers.get("content-type", ""))
            as_json = wants_json(request.headers.get("accept", ""))
            received = await body.save(folder / "body")
            return await service.answer(received, folder, kind, as_json)

    @app.exception_handler(HTTPException)
    async def other_route(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": f"{error.detail}; call GET /ping or POST /invocations."}, error.status_code)

    return app
