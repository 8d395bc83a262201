"""Benchmarks: ratios measured in alternation in one run; never pass or fail."""
