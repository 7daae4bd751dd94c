"""What the SyntheXInfer module does, without Qt."""
