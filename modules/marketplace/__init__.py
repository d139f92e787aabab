"""A synthetic marketplace for real-estate leads whose true conversion probabilities are known exactly."""
