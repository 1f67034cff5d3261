"""A job's events as a stream (server-sent events)."""
