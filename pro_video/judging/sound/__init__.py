"""Checks of the sound of a result against its source and the new audio."""
