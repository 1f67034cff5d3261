"""A paid attempt at a provider: prepare, submit, follow, store."""
