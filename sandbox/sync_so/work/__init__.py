"""A generation from acceptance to its end: inputs, processing, webhook."""
