"""The client and the gateway have the same fields."""

from __future__ import annotations

import subprocess
import sys
from typing import get_type_hints

import pytest
from pydantic import BaseModel

from gateway.estimates.estimate import EstimateView
from gateway.events.history import JobEvent as GatewayEvent
from gateway.jobs import request_models, views
from gateway.uploads.direct_uploads import UploadPart, UploadView
from pro_video.client import Area, JobRequest, Options, Region, Segment, Speaker, Webhook, models
from pro_video.pricing.estimate import StageEstimate
from pro_video.request.models import Speaker as ProductSpeaker


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (models.Job, views.JobView),
        (models.JobSummary, views.JobSummary),
        (models.JobCreated, views.JobCreated),
        (models.JobError, views.ErrorView),
        (models.JobPage, views.JobList),
        (models.JobEvent, GatewayEvent),
        (models.Estimate, EstimateView),
        (models.StageEstimate, StageEstimate),
        (models.Upload, UploadView),
        (models.UploadPart, UploadPart),
    ],
)
def test_answers_have_the_same_fields(ours: type[BaseModel], theirs: type[BaseModel]) -> None:
    assert set(ours.model_fields) == set(theirs.model_fields)


def test_a_request_is_one_of_the_api() -> None:
    speaker = Speaker(method="point", x=0.5, y=0.4, at=1)
    segments = [
        Segment(0, 1.5, "upload:a", 0, 1.5, "one", speaker, "remap", 0.5),
        Segment(2, 3, "upload:b"),
    ]
    region = Region(0.1, 0.8, 0.8, 0.15)
    areas = [Area("erase", region, 0, 4), Area("erase_text", region), Area("protect", region)]
    webhook = Webhook(url="https://example.com/hooks")
    request = JobRequest("upload:v", segments, areas, "Spot", Options(max_cost_usd=2), webhook)
    read = request_models.JobBody.model_validate(request.json())
    assert [each.audioInput.refId for each in read.segments_data] == list(read.audios)
    assert [request_models.KINDS[each.type] for each in read.effects or ()] == [
        area.kind for area in areas
    ]
    assert read.segments_data[0].model_fields_set == set(request_models.SegmentBody.model_fields)
    assert set(get_type_hints(Speaker)) == set(ProductSpeaker.model_fields)
    assert set(get_type_hints(Options)) == set(request_models.OptionsBody.model_fields)


@pytest.mark.parametrize("module", ["pro_video.client", "deployments.command_line.main"])
def test_neither_the_client_nor_the_command_loads_the_rest(module: str) -> None:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    foreign = {"prefect", "prefect_aws", "boto3", "botocore", "av", "fastapi"}
    assert not foreign & set(done.stdout.split())
