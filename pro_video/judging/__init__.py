"""Judges a paid result: verdict, findings, and a preview of before and after."""
