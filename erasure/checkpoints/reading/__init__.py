"""From files of any kind to a checkpoint in memory; what is not understood is refused."""
