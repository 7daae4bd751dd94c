"""What the SyntheXSimulate module does, without Qt."""
