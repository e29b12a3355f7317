"""A plugin from elsewhere."""
