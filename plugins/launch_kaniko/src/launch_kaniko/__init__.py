"""Kaniko for launchcore: images built as Jobs in a Kubernetes cluster."""
