"""From a concept's name to the prompts that erase it."""
