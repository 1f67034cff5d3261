"""Rules for requests that are refused, at once or later, and the vendor's statuses."""
