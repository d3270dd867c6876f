"""Benchmarks, evaluations, comparisons and distances whose numbers are known, made by hand."""
