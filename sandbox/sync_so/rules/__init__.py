"""Which requests are refused, and the vendor's tables."""
