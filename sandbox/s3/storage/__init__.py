"""Buckets, objects and unfinished uploads on disk."""
