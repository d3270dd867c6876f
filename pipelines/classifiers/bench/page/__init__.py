"""The page and the plot of a benchmark of classifier methods."""
