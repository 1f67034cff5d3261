"""The whole system on one machine, with the sandbox as S3 and as the providers."""
