"""What else an erasure lost, and how far a judge can be trusted to say so."""
