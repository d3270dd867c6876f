"""Probes that revive nothing: they describe what a network does with the concept."""
