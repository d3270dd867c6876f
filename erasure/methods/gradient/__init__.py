"""Methods that train: selected weights move against a loss, step by step."""
