"""Owners of requests: tokens, and limits per owner."""
