"""What the tests of this plugin stand on: a model of the executor, an image of it, a registry's client."""
