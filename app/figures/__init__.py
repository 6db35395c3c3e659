"""Results in, plotly figures out. Nothing is computed here beyond layout; views and reports draw with the same functions."""
