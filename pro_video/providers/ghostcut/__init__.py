"""GhostCut (text removal): HTTP client, wire models, meaning of its statuses and codes."""
