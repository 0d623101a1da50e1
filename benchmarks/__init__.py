"""Benchmarks: each checks the answers against its peer first, then times both in turn. `python -m benchmarks`."""
