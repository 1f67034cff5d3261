"""Real media processing of the sandbox: sound, text removal, sample, measurements."""

from sandbox.media.errors import MediaError

__all__ = ["MediaError"]
