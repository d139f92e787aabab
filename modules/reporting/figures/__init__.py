"""Plotly figures from typed data: one function per plot. Colours of text, lines and grid are the page's (theme.py)."""
