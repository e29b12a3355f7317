"""For tests: a SageMaker that really runs training containers, on loopback. A model of AWS, not AWS."""
