"""The parts of the fault suite; each function is a scenario that judges its own jobs."""
