"""Checks of the picture of a result against its source."""
