"""What a request has to keep to, with the numbers behind it, before and after files are known."""
