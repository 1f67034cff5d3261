"""Wakes a waiting task when a provider's callback arrives."""
