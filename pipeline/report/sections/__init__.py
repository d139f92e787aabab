"""The sections of a report, each a function from a run's data to blocks; lead_scoring.py and recommendation.py order
them."""
