"""Identity of a parameter set, claims, and the durable store of results."""
