"""The frame of a job: its request, state, progress, report and end."""
