"""Kubernetes for launchcore: runs as Jobs or as custom resources."""
