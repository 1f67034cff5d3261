"""Sync.so (lip-sync): HTTP client, wire models and the meaning of its statuses and error codes."""
