"""Query parameters that several lists share."""

from sandbox.sync_so.responses import invalid


def page_limit(text: str | None) -> int | None:
    """`limit` from 1 to 100, None when absent; ApiError 400 otherwise."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= 100:
        raise invalid("limit must be a number from 1 to 100")
    return int(text)


def truth(text: str | None, name: str) -> bool:
    """A boolean query parameter, false when absent; ApiError 400 otherwise."""
    if text is None or text in ("false", "0"):
        return False
    if text in ("true", "1"):
        return True
    raise invalid(f"{name} must be a boolean")
