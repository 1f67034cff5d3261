"""The job as a resource: create, list, read, cancel, retry, accept."""
