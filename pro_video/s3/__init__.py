"""The bucket: objects, transfers, checksums, presigned links, and the test of a bucket."""
