"""What a checkpoint must be and must not be; each refusal says what was found."""
