"""Measures the service beside its peers. Start with `python -m benchmarks --help`."""
