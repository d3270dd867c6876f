"""Other ways of asking for a concept: templates, lists by hand, and lists of the user."""
