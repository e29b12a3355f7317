"""The source `archive`: an uploaded directory."""
