"""One local page over the command line: forms, jobs, runs and their pictures."""
