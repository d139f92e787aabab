"""What the last screen of a run says about each family of models."""
