"""For tests: a model of AWS (moto) as a server of its own, on loopback."""
