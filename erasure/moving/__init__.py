"""The component of a model that is edited, as trainings and measurements take it."""
