"""For tests: a private Docker engine and a base image that needs no registry."""
