"""Next best action: a causal attention network over the journeys of leads."""
