"""The work itself, without Prefect: request, errors, waiting, storage, media, the providers."""
