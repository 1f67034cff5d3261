"""Messages to the receiver that a job's owner named."""
