"""The removal of what ended jobs leave in the bucket."""
