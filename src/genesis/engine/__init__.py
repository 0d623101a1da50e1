"""The compiled position loop, its costs and its metrics."""
