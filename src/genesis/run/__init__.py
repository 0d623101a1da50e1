"""The study loop: propose, claim, run, keep, tell."""
