"""Shares, intervals and rates of unlearning."""
