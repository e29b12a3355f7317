"""The builder `none`: it builds nothing, and says so."""
