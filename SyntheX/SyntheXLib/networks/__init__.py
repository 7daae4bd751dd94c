"""TransUNet, its heads, and the model file."""
