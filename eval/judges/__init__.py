"""Detectors and classifiers that say what a picture shows."""
