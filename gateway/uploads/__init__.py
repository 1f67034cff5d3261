"""Uploads straight to the bucket, and the removal of expired and orphaned ones."""
