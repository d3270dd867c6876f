"""Which weights may move: selection, masks, their files and their overlap."""
