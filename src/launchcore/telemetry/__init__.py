"""What an agent tells of itself to Prometheus and to OpenTelemetry, when it is configured to."""
