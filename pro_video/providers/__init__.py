"""Common parts of the providers' clients: HTTP without leaks, JSON bodies, outcomes of a job."""
