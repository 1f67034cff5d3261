"""The base of all other packages: errors, time, waiting, retrying, settings, stopping."""
