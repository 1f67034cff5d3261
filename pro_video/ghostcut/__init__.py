"""GhostCut (text removal): HTTP client, wire models, and what its statuses and codes mean."""
