"""The steps of the flows: Prefect tasks with retries, persisted results and progress; one module
per step."""
