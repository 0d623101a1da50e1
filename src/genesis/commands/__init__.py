"""One module per group of commands; each parses, calls one function and prints."""
