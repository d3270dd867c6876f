"""What a run will take, and settings that fit a device; before anything is drawn."""
