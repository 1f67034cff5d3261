"""Bytes into and out of the bucket: parts, ranges, checksums, copies."""
