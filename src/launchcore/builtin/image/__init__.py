"""The source `image`: a ready image, nothing to fetch."""
