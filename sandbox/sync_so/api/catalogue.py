"""Calls that read the vendor's tables: cost estimates, error codes, models, the webhook secret."""

import math
import shutil
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.sync_so.api.request_body import read_json, read_object
from sandbox.sync_so.emulator import Emulator
from sandbox.sync_so.responses import ApiError, invalid
from sandbox.sync_so.rules.options import is_number
from sandbox.sync_so.rules.request import check_request
from sandbox.sync_so.rules.tables import ERROR_CODES, MODELS
from sandbox.sync_so.work.inputs import InputError, prepare

DEFAULT_FPS = 30.0


async def estimate(emulator: Emulator, request: Request) -> Response:
    """The cost of a stated duration."""
    body = await read_object(request)
    model: Any = body.get("model")
    duration: Any = body.get("duration")
    fps: Any = body.get("fps", DEFAULT_FPS)
    if model not in MODELS:
        raise invalid("model is not supported", "model", "generation_unsupported_model")
    if not is_number(duration) or duration <= 0:
        raise invalid("duration must be a number of seconds above 0", "duration")
    if not is_number(fps) or fps <= 0:
        raise invalid("fps must be a number above 0", "fps")
    return JSONResponse({**_cost(model, duration, fps), "estimatedCredits": None})


async def analyze(emulator: Emulator, request: Request) -> Response:
    """The cost of a create, whose inputs are fetched and measured for it."""
    wanted, refusal = check_request(await read_json(request), emulator.switches)
    if refusal is not None:
        raise invalid(refusal, "segments", "generation_input_segments_invalid")
    folder = emulator.data_dir / "scratch" / str(uuid.uuid4())
    try:
        video = (await prepare(emulator, wanted, folder)).video_probe
    except InputError as error:
        raise ApiError(error.status, str(error), error.code) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    cost = _cost(wanted["model"], video.video_seconds, video.fps or DEFAULT_FPS)
    return JSONResponse([cost] if emulator.switches["estimate_style"] == "array" else cost)


async def errors(emulator: Emulator, request: Request) -> Response:
    """Every error code."""
    suggestion = "See the documentation."
    return JSONResponse(
        [
            {"code": code, "message": message, "suggestion": suggestion}
            for code, message in ERROR_CODES.items()
        ]
    )


async def models(emulator: Emulator, request: Request) -> Response:
    """Every model."""
    return JSONResponse(
        [
            {
                "id": model.name,
                "name": model.name,
                "type": model.kind,
                "version": "1",
                "description": model.description,
                "deprecatedAt": None,
            }
            for model in MODELS.values()
        ]
    )


async def webhook_secret(emulator: Emulator, request: Request) -> Response:
    """The secret that signs webhooks."""
    return JSONResponse({"secret": emulator.webhook_secret})


async def batch(emulator: Emulator, request: Request) -> Response:
    """Batches are not emulated: the plan does not include them."""
    raise ApiError(403, "Batch is not available on your plan", "batch_plan_required")


def _cost(model: str, seconds: float, fps: float) -> dict[str, Any]:
    frames = math.ceil(seconds * fps - 1e-6)
    cost = round(frames * MODELS[model].usd_per_frame, 6)
    return {"estimatedFrameCount": frames, "estimatedGenerationCost": cost}
