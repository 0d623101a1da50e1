"""The documented import paths of Genesis-Core, each name one line from its home in `genesis`."""
