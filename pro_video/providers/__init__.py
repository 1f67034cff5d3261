"""The providers: what their clients share, and a folder for each of them."""
