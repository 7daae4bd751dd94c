"""Training of a task network."""
