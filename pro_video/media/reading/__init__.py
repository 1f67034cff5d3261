"""Reads the structure of a media file: streams, lengths, orientation, type."""
