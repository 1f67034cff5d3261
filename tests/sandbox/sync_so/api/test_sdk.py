"""The vendor's own Python client works when nothing but its base URL is changed."""

import asyncio
import uuid
from collections.abc import Iterator

import httpx
import pytest
from sync import AsyncSync, Sync
from sync.common.types import Audio, GenerationOptions, GenerationSegment, SegmentAudioInput, Video

from tests.sandbox.sync_so.conftest import Links, Media
from tests.sandbox.sync_so.vendor import KEY, Vendor


@pytest.fixture
def client(vendor: Vendor) -> Iterator[Sync]:
    client = Sync(base_url=vendor.url, api_key=KEY)
    yield client
    # The client has no method that closes its connections.
    client._client_wrapper.httpx_client.httpx_client.close()


def test_create_read_list_and_download(vendor: Vendor, client: Sync, links: Links) -> None:
    vendor.settings(media="process")
    made = client.generations.create(
        model="lipsync-2",
        input=[Video(url=links.video), Audio(url=links.audio, ref_id="line-1")],
        segments=[
            GenerationSegment(
                start_time=0.4, end_time=1.2, audio_input=SegmentAudioInput(ref_id="line-1")
            )
        ],
        options=GenerationOptions(sync_mode="cut_off", temperature=0.6),
        output_file_name="from-the-sdk",
    )
    assert made.status == "PENDING"
    assert uuid.UUID(made.id).version == 4
    assert made.segments is not None
    assert made.segments[0].audio_input.ref_id == "line-1"
    vendor.until(made.id, "COMPLETED")
    read = client.generations.get(made.id)
    assert read.status == "COMPLETED"
    assert read.output_duration == 2.0
    assert read.options is not None
    assert read.options.temperature == 0.6
    assert read.created_at == made.created_at
    assert [item.id for item in client.generations.list(status="COMPLETED")] == [made.id]
    assert read.output_url is not None
    assert httpx.get(read.output_url, follow_redirects=True).content[4:8] == b"ftyp"


def test_cost_models_assets_and_files(
    vendor: Vendor, client: Sync, links: Links, media: Media
) -> None:
    cost = client.generations.estimate_cost(
        model="lipsync-2", input=[Video(url=links.video), Audio(url=links.audio)]
    )
    assert (cost[0].estimated_frame_count, cost[0].estimated_generation_cost) == (50, 0.1)
    assert "sync-3" in [model.id for model in client.models.list()]
    assert client.assets.list().items == []
    made = client.generations.create_with_files(
        model="lipsync-2",
        video=("clip.mp4", media.clip.read_bytes(), "video/mp4"),
        audio=("tone.wav", media.tone.read_bytes(), "audio/wav"),
    )
    assert vendor.until(made.id, "COMPLETED")["outputDuration"] == 2.0


def test_the_asynchronous_client(vendor: Vendor, links: Links) -> None:
    async def run() -> str:
        client = AsyncSync(base_url=vendor.url, api_key=KEY)
        made = await client.generations.create(
            model="lipsync-2", input=[Video(url=links.video), Audio(url=links.long_audio)]
        )
        assert (await client.generations.get(made.id)).id == made.id
        await client._client_wrapper.httpx_client.httpx_client.aclose()
        return made.id

    vendor.until(asyncio.run(run()), "COMPLETED")
