"""Steps of an optimiser over selected weights, kept and continued."""
