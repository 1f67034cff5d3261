"""Common parts of the vendor emulators: state, faults, control API, server, media processes."""
