"""The classifier of the canvas, trained and calibrated."""
