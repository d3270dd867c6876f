"""What an erasure is known by, and what comes out of it: the key of a run, and a proved edit."""
