"""Child processes with limits, in which foreign media are read."""
