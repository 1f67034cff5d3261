"""Callbacks in and webhooks out: their signatures, their verification, and their records."""
