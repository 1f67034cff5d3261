"""The application: routes put together, settings, logs, errors, health."""
