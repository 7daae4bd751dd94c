"""The scene in front of the detector: specimen, landmarks, C-arm and poses."""
