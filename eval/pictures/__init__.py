"""Pictures as judges and metrics take them."""
