"""The command ``pro-video``: jobs over the HTTP API, and the parts of an installation."""
