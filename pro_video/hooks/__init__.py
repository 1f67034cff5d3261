"""Callbacks in and webhooks out: what is signed, how it is verified, what is kept of it."""
