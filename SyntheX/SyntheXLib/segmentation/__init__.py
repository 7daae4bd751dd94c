"""A label map of a CT: by TotalSegmentator, or by a network that the user names."""
