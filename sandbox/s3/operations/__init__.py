"""S3's operations on buckets, objects and multipart uploads."""
