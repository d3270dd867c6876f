"""Methods of forgetting by gradients or closed form; one file each."""
