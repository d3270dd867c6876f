"""Second derivatives and gradients of single samples."""
