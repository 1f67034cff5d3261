"""Reads media files without decoding them whole, and compares results with their sources."""
