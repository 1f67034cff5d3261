"""The HTTP API: creates jobs, shows their state, and sends their events, without Prefect's API.

All of it is a view of Prefect's own state; there is no second table of jobs.
"""
