"""The work itself, without Prefect: request model, progress, errors, waiting, storage, media, providers."""
