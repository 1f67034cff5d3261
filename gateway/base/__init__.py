"""Common ground of the gateway: settings, problem documents, logs, bodies, caches."""
