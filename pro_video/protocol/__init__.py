"""What the providers' clients share: HTTP without leaks, JSON on the wire, outcomes of a job."""
