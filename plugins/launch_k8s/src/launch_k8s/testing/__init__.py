"""What tests of this plugin share: a scripted API server, and a real cluster."""
