"""Pictures and prompts of a run: drawn, read, captioned, checked."""
