"""Bytes into and out of the bucket: parts, ranges, checksums, the gate for foreign addresses."""
