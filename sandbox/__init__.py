"""The embedded world: S3, a Sync.so and a GhostCut that speak the vendors' wire protocols, process
real video and fail on demand. Imports nothing of the product, which reaches it over HTTP only.
"""
