"""The fault suite: real jobs in real processes, killed, cut off and lied to, and judged by what was
billed.

``python -m tests.chaos`` runs it; ``docs/faults.md`` says what it shows.
"""
