"""The providers' callbacks, which only wake the wait for a job."""
