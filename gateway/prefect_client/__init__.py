"""Prefect's API with deadlines, and the jobs in it: the one place that calls Prefect's client."""
