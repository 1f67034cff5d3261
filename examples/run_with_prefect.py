"""One job through Prefect's client: a new voice for one segment of a video.

Usage: python examples/run_with_prefect.py VIDEO AUDIO START END
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from prefect.deployments import arun_deployment


def request(video: str, audio: str, start: str, end: str) -> dict[str, Any]:
    """Parameters of the deployment; a worker on this machine may read local files."""
    segment = {"start": float(start), "end": float(end), "audio": str(Path(audio).resolve())}
    return {"video": str(Path(video).resolve()), "segments": [segment]}


async def main() -> None:
    parameters = request(*sys.argv[1:])
    # Returns when the job has ended.
    run = await arun_deployment("pro-video/local", parameters=parameters, poll_interval=1)
    state = run.state
    if state is None or not state.is_completed():
        sys.exit(f"The job {run.id} has not completed: {state and state.message}")
    result = await state.aresult()
    print(f"{state.name}: {state.message}")
    for warning in result.warnings:
        print(f"Warning: {warning.message}")
    print(f"In the bucket: {result.output_key}")
    print(f"Link, for a day: {result.output_url}")


if __name__ == "__main__":
    asyncio.run(main())
