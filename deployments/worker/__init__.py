"""A Prefect worker that runs all its jobs as coroutines of one process.

A job waits for providers nearly all its life. A process per job costs about 95 MiB while it
waits, a coroutine about one, and a job that has left the process to wait a few kilobytes, so that
one small machine holds thousands of waiting jobs.
"""
