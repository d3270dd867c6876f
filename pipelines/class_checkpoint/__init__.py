"""The embedded class-conditional checkpoint: how it is trained, measured and written."""
