"""Owners of requests: their tokens, and the limits of their rates."""
