"""The application: its routes and services put together, its server, health and document."""
