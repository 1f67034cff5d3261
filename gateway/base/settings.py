"""Settings of the gateway's process (``PRO_VIDEO_GATEWAY_…``)."""

from __future__ import annotations

from functools import lru_cache

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_GIB = 1024**3


class GatewaySettings(BaseSettings):
    """Each field is the environment variable ``PRO_VIDEO_GATEWAY_<FIELD>``."""

    model_config = SettingsConfigDict(env_prefix="PRO_VIDEO_GATEWAY_", frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(4204, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    deployment: str = Field(
        "pro-video/local", description="The deployment whose flow runs are the jobs."
    )
    max_connections: int = Field(
        4000, ge=1, description="Open connections; further ones are answered with 503."
    )
    header_seconds: float = Field(
        10.0, gt=0, description="A client whose request headers take longer is cut off."
    )
    upstream_seconds: float = Field(
        10.0, gt=0, description="Longest wait for one answer of Prefect or S3, in seconds."
    )

    # Access.
    token_block: str = Field("pro-video", description="Name of the block that holds the tokens.")
    token_seconds: float = Field(
        5.0, ge=0, description="A revoked token is refused after this time at most, in seconds."
    )
    allowed_hosts: list[str] = Field(
        default_factory=list,
        description="Names under which the gateway answers, as a JSON list, besides loopback "
        'names, addresses and the name in PRO_VIDEO_PUBLIC_URL; ["*"] allows all.',
    )
    cors_origins: list[str] = Field(
        default_factory=list,
        description='Origins whose pages may use the API, as a JSON list; ["*"] allows all.',
    )

    source_prefixes: list[str] = Field(
        default_factory=list,
        description="Places in S3 that every owner may name as a source, as a JSON list of "
        "s3://bucket/prefix/ with the slash at the end.",
    )

    # Limits per owner.
    jobs_in_flight: int = Field(100, ge=1, description="Unfinished jobs of one owner.")
    stored_bytes: int = Field(
        200 * _GIB, ge=1, description="Bytes of one owner's uploads in the bucket."
    )
    open_uploads: int = Field(20, ge=1, description="Unfinished direct uploads of one owner.")
    requests_per_second: float = Field(50.0, gt=0, description="Requests of one owner, on average.")
    request_burst: int = Field(200, ge=1, description="Requests of one owner at once.")
    status_reads_per_second: float = Field(
        1000.0, gt=0, description="Status reads of one owner, on average; not counted as requests."
    )
    status_read_burst: int = Field(2000, ge=1, description="Status reads of one owner at once.")

    # The form.
    max_form_bytes: int = Field(6 * _GIB, gt=0, description="Largest form, in bytes.")
    max_audio_bytes: int = Field(200 * 1024**2, gt=0, description="Largest audio of a form.")
    forms_at_once: int = Field(
        4, ge=1, description="Forms received at the same time; each holds about 10 MiB."
    )
    form_queue_seconds: float = Field(
        10.0, ge=0, description="A form waits this long until it may be received."
    )
    form_idle_seconds: float = Field(
        20.0, gt=0, description="A form that sends nothing for this time is refused."
    )
    form_bytes_per_second: float = Field(
        4096.0,
        ge=0,
        description="Lowest average rate of a form, in bytes per second.",
    )
    form_rate_grace_seconds: float = Field(
        30.0, ge=0, description="Time before the average rate of a form counts."
    )

    # Direct uploads.
    upload_hours: float = Field(
        24.0, gt=0, le=168, description="Time to complete a direct upload, in hours."
    )
    upload_keep_hours: float = Field(
        168.0, gt=0, description="A complete upload that no unfinished job needs is kept this long."
    )
    sweep_seconds: float = Field(
        600.0, gt=0, description="Pause between two removals of expired uploads."
    )

    # Status.
    status_cache_seconds: float = Field(
        1.0,
        ge=0,
        description="Longest age of a status, in seconds; 4 s more while Prefect answers slowly.",
    )

    # Events.
    events_heartbeat_seconds: float = Field(
        15.0, gt=0, description="Pause after which an idle stream sends a heartbeat."
    )
    events_longest_seconds: float = Field(
        3600.0, gt=0, description="A stream ends after this time; its client reconnects by itself."
    )
    events_send_seconds: float = Field(
        30.0, gt=0, description="A client that reads nothing for this time is dropped."
    )
    events_listeners: int = Field(2000, ge=1, description="Streams at the same time.")
    events_listeners_of_owner: int = Field(
        200, ge=1, description="Streams of one owner at the same time."
    )
    events_look_seconds: float = Field(
        1.0, gt=0, description="Pause between two reads of the percentages of followed jobs."
    )

    # Callbacks of the providers.
    sync_so_webhook_secrets: SecretStr = Field(
        SecretStr(""),
        description="Sync.so's webhook secret; two, with a comma between them, while it is "
        "changed. Empty: the gateway asks Sync.so for it with the API key.",
    )
    ghostcut_previous_app_secrets: SecretStr = Field(
        SecretStr(""),
        description="Earlier app secrets that GhostCut may still sign with, besides the block's "
        "own; with commas between them.",
    )
    doorbell_max_bytes: int = Field(256 * 1024, gt=0, description="Largest callback, in bytes.")
    doorbell_seconds: float = Field(
        10.0, gt=0, description="A callback that has not arrived whole after this time is refused."
    )
    doorbells_at_once: int = Field(64, ge=1, description="Callbacks received at the same time.")
    doorbell_memory_seconds: float = Field(
        900.0, gt=0, description="A repetition within this time is not handled again."
    )

    @field_validator("source_prefixes")
    @classmethod
    def _whole_folders(cls, value: list[str]) -> list[str]:
        for prefix in value:
            parts = prefix.removeprefix("s3://").split("/")
            well_formed = prefix.startswith("s3://") and len(parts) > 1 and not parts.pop()
            if not well_formed or {"", ".", ".."} & set(parts):
                raise ValueError("each must have the form s3://bucket/prefix/ or s3://bucket/")
        return value


@lru_cache(maxsize=1)
def get_gateway_settings() -> GatewaySettings:
    """The settings of this process."""
    return GatewaySettings()
