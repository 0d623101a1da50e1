"""Studies that ship with Genesis."""
