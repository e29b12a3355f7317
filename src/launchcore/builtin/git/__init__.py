"""The source `git`: a repository at a commit."""
