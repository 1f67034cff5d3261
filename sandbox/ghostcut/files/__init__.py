"""The vendor's storage: uploaded files and results."""
