"""Families of models: networks, codecs, text encoders, scopes."""
