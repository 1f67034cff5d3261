"""Estimates of a job's price, without a job."""
