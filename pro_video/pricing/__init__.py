"""Prices of the providers, and the estimate of a job before anything is paid."""
