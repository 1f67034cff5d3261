"""The jobs' bucket: listings, removal, and objects written while their bytes arrive."""
