"""How much each weight carries a concept: gradients of a loss, summed over samples."""
