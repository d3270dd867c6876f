"""What a judge says of a run: of its grid at the end, and while it trains."""
