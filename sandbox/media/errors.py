"""The one error of the media part."""

from __future__ import annotations


class MediaError(Exception):
    """The input cannot be processed: not media, damaged, no picture, or a senseless plan.

    The text names the file by its last path component and says what is wrong with it.
    """
