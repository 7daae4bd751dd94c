"""Data sets of others in our format: the SyntheX release's two layouts and DeepFluoro. Image folders: `inference.image_folder`."""
