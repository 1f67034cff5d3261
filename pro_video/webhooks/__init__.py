"""Webhooks: signatures, deliveries, and their records."""
