"""Plotly figures of results, for views and reports. Nothing but layout is computed here."""
