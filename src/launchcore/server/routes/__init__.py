"""All endpoints, one module for each group."""
