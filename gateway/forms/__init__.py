"""The editor's multipart form, received part by part."""
