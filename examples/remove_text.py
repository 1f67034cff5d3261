"""Text removal alone: the text in a region of an existing video is erased, no voice is changed.

Usage: python examples/remove_text.py VIDEO X Y WIDTH HEIGHT

The region is given in fractions of the displayed frame; X and Y are its upper left corner.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from prefect.deployments import arun_deployment


def request(video: str, *numbers: str) -> dict[str, Any]:
    """Parameters of the deployment; an area without start and end is about the whole video."""
    region = dict(zip(("x", "y", "width", "height"), map(float, numbers), strict=True))
    area = {"kind": "erase_text", "region": region}
    return {"video": str(Path(video).resolve()), "annotation_areas": [area]}


async def main() -> None:
    parameters = request(*sys.argv[1:])
    # Returns when the job has ended.
    run = await arun_deployment("text-inpainting/local", parameters=parameters, poll_interval=1)
    state = run.state
    if state is None or not state.is_completed():
        sys.exit(f"The job {run.id} has not completed: {state and state.message}")
    result = await state.aresult()
    print(f"{state.name}: {state.message}")
    print(f"Link, for a day: {result.output_url}")


if __name__ == "__main__":
    asyncio.run(main())
