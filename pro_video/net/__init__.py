"""Connections to foreign addresses, bounded HTTP exchanges, and the threads for blocking work."""
