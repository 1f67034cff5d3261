"""What both vendor emulators share: persistent state, faults, control API, server, media pool."""
