"""What the model server is measured against, and the leads that all of them are asked about."""
