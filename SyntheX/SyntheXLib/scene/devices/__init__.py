"""The device files, one a C-arm; see `scene.device_file`."""
