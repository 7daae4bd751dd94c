"""2D/3D registration: where the C-arm and the bones stood when a real X-ray was taken."""
