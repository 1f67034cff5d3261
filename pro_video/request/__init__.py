"""The rules of a request, with the numbers behind them, before and after files are known."""
