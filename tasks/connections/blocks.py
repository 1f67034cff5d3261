"""The project's own Prefect blocks: address and key of each provider.

The sandbox is reached through other values in these blocks. S3 uses the blocks of prefect-aws.
"""

from __future__ import annotations

from typing import Any, ClassVar

from prefect.blocks.abstract import CredentialsBlock
from pydantic import Field, SecretStr

from pro_video.providers.ghostcut.client import GhostCutClient
from pro_video.providers.sync_so.client import SyncSoClient


class SyncSoCredentials(CredentialsBlock):
    """Access to Sync.so, the lip-sync provider."""

    _block_type_name: ClassVar[str | None] = "Sync.so Credentials"
    _block_type_slug: ClassVar[str | None] = "sync-so-credentials"
    _description: ClassVar[str | None] = "API key and address of Sync.so (lip-sync)."

    api_key: SecretStr = Field(
        title="API key", description="Key of the organisation, from https://sync.so/keys."
    )
    base_url: str = Field(
        default="https://api.sync.so",
        title="Base URL",
        description="Address of the API; another one only for tests.",
    )

    def get_client(self, **options: Any) -> SyncSoClient:
        """An HTTP client of this account, to be used as an async context manager."""
        return SyncSoClient(self.base_url, self.api_key.get_secret_value(), **options)


class GhostCutCredentials(CredentialsBlock):
    """Access to GhostCut, the text removal provider."""

    _block_type_name: ClassVar[str | None] = "GhostCut Credentials"
    _block_type_slug: ClassVar[str | None] = "ghostcut-credentials"
    _description: ClassVar[str | None] = "App key, app secret and address of GhostCut."

    app_key: str = Field(title="App key", description="AppKey of the account.")
    app_secret: SecretStr = Field(
        title="App secret", description="AppSecret that signs every request."
    )
    base_url: str = Field(
        default="https://api.zhaoli.com",
        title="Base URL",
        description="Address of the API; another one only for tests.",
    )
    submit_path: str = Field(
        default="/v-w-c/gateway/ve/work/free",
        title="Submit path",
        description="The vendor documents two equal paths, …/work/free and …/work/fast.",
    )

    def get_client(self, **options: Any) -> GhostCutClient:
        """An HTTP client of this account, to be used as an async context manager."""
        return GhostCutClient(
            self.base_url,
            self.app_key,
            self.app_secret.get_secret_value(),
            submit_path=self.submit_path,
            **options,
        )
