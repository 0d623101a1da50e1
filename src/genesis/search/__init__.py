"""The parameter space and the samplers that propose points in it."""
