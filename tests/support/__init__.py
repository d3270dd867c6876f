"""What several tests share: tiny models, command lines in one process, refusals, pages."""
