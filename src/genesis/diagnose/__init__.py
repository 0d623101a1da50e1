"""What is wrong with a study, before, while and after it runs."""
