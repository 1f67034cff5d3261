"""The HTTP API: hand a job over, follow it, and be told when it is done, without knowing Prefect.

All of it is a view of Prefect's own state; there is no second table of jobs.
"""
