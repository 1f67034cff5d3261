"""The vendor's read-only routes: models, error codes, prices, the webhook secret."""

import math
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.sync_so.api.request_body import JSON_MAX, parse_json, read_limited
from sandbox.sync_so.emulator import Emulator, json_reply
from sandbox.sync_so.files.scratch import scratch_folder
from sandbox.sync_so.responses import ApiError, invalid
from sandbox.sync_so.rules.options import is_number
from sandbox.sync_so.rules.request import check_request
from sandbox.sync_so.rules.tables import ERROR_CODES, MODELS
from sandbox.sync_so.work.inputs import InputProblem, prepare

DEFAULT_FPS = 30.0


def information_routes(emulator: Emulator) -> list[Route]:
    """Estimates, catalogues, the secret, and what is not emulated."""

    async def estimate(request: Request) -> Response:
        body = parse_json(await read_limited(request, 1 << 16), "the body")
        if not isinstance(body, dict):
            raise invalid("the body must be an object")
        model: Any = body.get("model")
        duration: Any = body.get("duration")
        fps: Any = body.get("fps", DEFAULT_FPS)
        if model not in MODELS:
            raise invalid("model is not supported", "model", "generation_unsupported_model")
        if not is_number(duration) or duration <= 0:
            raise invalid("duration must be a number of seconds above 0", "duration")
        if not is_number(fps) or fps <= 0:
            raise invalid("fps must be a number above 0", "fps")
        return json_reply({**_cost(model, duration, fps), "estimatedCredits": None})

    async def analyze(request: Request) -> Response:
        body = parse_json(await read_limited(request, JSON_MAX), "the body")
        wanted, refused = check_request(body, emulator.switches)
        if refused is not None:
            raise invalid(refused, "segments", "generation_input_segments_invalid")
        async with scratch_folder(emulator.data_dir) as folder:
            try:
                inputs = await prepare(emulator, wanted, folder)
            except InputProblem as problem:
                raise ApiError(problem.status, str(problem), problem.code) from problem
        video = inputs.video_probe
        cost = _cost(wanted["model"], video.video_seconds, video.fps or DEFAULT_FPS)
        return json_reply([cost] if emulator.switches["estimate_style"] == "array" else cost)

    async def errors(_: Request) -> Response:
        return json_reply(
            [
                {"code": code, "message": message, "suggestion": "See the documentation."}
                for code, message in ERROR_CODES.items()
            ]
        )

    async def models(_: Request) -> Response:
        return json_reply(
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

    async def secret(_: Request) -> Response:
        return json_reply({"secret": emulator.webhook_secret})

    async def batch(_: Request) -> Response:
        raise ApiError(403, "Batch is not available on your plan", "batch_plan_required")

    return [
        emulator.endpoint("/v2/generations/estimate", "estimate", estimate, methods=["POST"]),
        emulator.endpoint("/v2/generate/estimate-cost", "estimate", estimate, methods=["POST"]),
        emulator.endpoint("/v2/analyze/cost", "estimate", analyze, methods=["POST"]),
        emulator.endpoint("/v2/errors", "other", errors, authenticated=False),
        emulator.endpoint("/v2/models", "other", models),
        emulator.endpoint("/v2/organizations/webhook/secret", "other", secret),
        emulator.endpoint("/v2/batch", "other", batch, methods=["GET", "POST"]),
        emulator.endpoint("/v2/batch/{id}", "other", batch),
    ]


def _cost(model: str, seconds: float, fps: float) -> dict[str, Any]:
    frames = math.ceil(seconds * fps - 1e-6)
    return {
        "estimatedFrameCount": frames,
        "estimatedGenerationCost": round(frames * MODELS[model].usd_per_frame, 6),
    }
