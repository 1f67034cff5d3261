"""Prefect's client on an event loop of its own, with deadlines."""
