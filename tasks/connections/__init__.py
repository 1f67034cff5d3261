"""Prefect blocks, and the clients made from them."""
