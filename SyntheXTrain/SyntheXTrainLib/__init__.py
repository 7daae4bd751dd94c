"""What the SyntheXTrain module does, without Qt."""
