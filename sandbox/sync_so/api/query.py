"""Query parameters."""

from collections.abc import Collection

from starlette.requests import Request

from sandbox.sync_so.responses import invalid


def page_limit(request: Request) -> int | None:
    """`limit` from 1 to 100, None when absent; ApiError 400 otherwise."""
    text = request.query_params.get("limit")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= 100:
        raise invalid("limit must be a number from 1 to 100")
    return int(text)


def flag(request: Request, name: str) -> bool:
    """A boolean, false when absent; ApiError 400 otherwise."""
    text = request.query_params.get(name, "false")
    if text not in ("false", "0", "true", "1"):
        raise invalid(f"{name} must be a boolean")
    return text in ("true", "1")


def words(request: Request, name: str, known: Collection[str] | None = None) -> set[str]:
    """All values of a parameter that may be repeated or separated by commas.

    ApiError 400 for one that is not among the known.
    """
    given = {word for text in request.query_params.getlist(name) for word in text.split(",")} - {""}
    if known is not None and (unknown := given - set(known)):
        raise invalid(f"{name}: {sorted(unknown)[0]} does not exist")
    return given
