"""The names of levels and presets of randomisation; without torch, so that command line and panel can list them."""

LEVELS = ("none", "regular", "strong")
PRESETS = ("ours", "paper-text", "released-code", "radiography")
