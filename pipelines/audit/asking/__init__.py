"""How an audit asks a model for its concept and for other things."""
