"""What a network is to see: structures, landmarks, poses and settings of each task, as TOML."""
