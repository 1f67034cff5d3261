"""A work from acceptance to its end: download, processing, points, callback."""
