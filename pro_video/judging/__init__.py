"""Judges a result that was paid for: its verdict, its findings, a picture of before and after."""
