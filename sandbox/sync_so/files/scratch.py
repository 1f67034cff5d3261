"""A folder for the length of one call."""

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


@asynccontextmanager
async def scratch_folder(parent: Path) -> AsyncIterator[Path]:
    """A fresh folder below `parent`, removed afterwards with all that is in it."""
    folder = parent / "scratch" / str(uuid.uuid4())
    await asyncio.to_thread(folder.mkdir, parents=True)
    try:
        yield folder
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
