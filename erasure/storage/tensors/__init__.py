"""Named tensors in files: containers, number types, and one hash for all of them."""
