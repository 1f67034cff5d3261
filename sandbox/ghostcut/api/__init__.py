"""The vendor's calls, and the checks that each passes first."""
