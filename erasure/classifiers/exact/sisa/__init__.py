"""SISA: retrain the shards that saw what is forgotten."""
