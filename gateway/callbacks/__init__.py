"""The providers' callbacks, which only wake a waiting task."""
