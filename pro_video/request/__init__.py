"""A job's request: models, rules with their limits, and the timeline of its result."""
