"""What the SyntheX home module does, without Qt."""
