"""Domain randomisation on batches."""
