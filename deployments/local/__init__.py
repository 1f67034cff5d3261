"""The whole system on one machine, with the sandbox in the place of S3 and the providers."""
