"""The client's claims, checked: signatures, payloads, checksums."""
