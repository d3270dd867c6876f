"""What a checkpoint says of its training, and who reads it how."""
