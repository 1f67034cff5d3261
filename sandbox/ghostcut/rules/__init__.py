"""Which requests are refused, at once or later, and the vendor's statuses."""
