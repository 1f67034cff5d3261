"""Calls of Prefect's API with a deadline; failures become problem documents."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Literal, cast

import httpx
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from gateway.base.problems import unavailable

if TYPE_CHECKING:
    from gateway.prefect_client.loop import PrefectLoop

logger = logging.getLogger("pro_video.gateway.prefect")


class PrefectRefused(Exception):
    """Prefect refused a request with a 4xx status."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"Prefect answered {status}")
        self.status = status
        self.body = body


class PrefectApi:
    """Prefect's REST API by path.

    Parsing a response into the client's own objects takes forty times as long as reading the needed
    fields, which counts when many clients poll.

    Args:
        prefect: the loop of Prefect's client, which repeats requests that may be repeated.
        timeout: longest time for one call in seconds, repeats included.
    """

    def __init__(self, prefect: PrefectLoop, *, timeout: float) -> None:
        self._prefect = prefect
        self._timeout = timeout

    async def call(
        self, method: Literal["GET", "POST", "DELETE", "PATCH"], path: str, json: Any = None
    ) -> httpx.Response:
        """Prefect's response to one request.

        Raises:
            ProblemError: 503, when Prefect does not answer in time or is overloaded.
            PrefectRefused: for any other error status.
        """

        async def send(client: Any) -> httpx.Response:  # its paths are typed as a fixed list
            return cast(httpx.Response, await client.request(method, path, json=json))

        try:
            async with asyncio.timeout(self._timeout):
                return await self._prefect.run(send)
        except PrefectHTTPStatusError as error:
            raise _refusal(error.response) from None
        except ObjectNotFound as error:
            raise PrefectRefused(404, str(error.help_message or "")) from None
        except httpx.HTTPStatusError as error:
            raise _refusal(error.response) from None
        except (httpx.HTTPError, TimeoutError, RuntimeError) as error:
            # httpx raises RuntimeError for a client that is being closed.
            logger.warning("Prefect does not answer: %s", type(error).__name__)
            raise unavailable("The job service") from None


def _refusal(response: httpx.Response) -> Exception:
    if response.status_code >= 500 or response.status_code in (408, 429):
        logger.warning("Prefect answered %d", response.status_code)
        return unavailable("The job service")
    return PrefectRefused(response.status_code, response.text[:2000])
