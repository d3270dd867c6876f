"""Pictures from models, and the grids, sheets and charts made of them."""
