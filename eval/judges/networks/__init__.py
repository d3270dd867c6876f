"""Networks that judges share."""
