"""Images: reading and writing them, their colors, how variables make them, and where they start."""
