"""Attacks that tune a copy of the network."""
