"""The fault suite: real jobs in real processes, which are killed or meet faults of the servers, and
are judged by what was billed.

``python -m tests.chaos`` runs it; ``docs/faults.md`` says what it shows.
"""
