"""Uploads straight to the bucket, and the removal of abandoned ones."""
