"""From metrics to a score, and from scores to what deserves belief."""
