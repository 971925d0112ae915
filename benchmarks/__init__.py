"""Benchmarks: what the gateway adds to a call, measured beside the same call made directly."""
