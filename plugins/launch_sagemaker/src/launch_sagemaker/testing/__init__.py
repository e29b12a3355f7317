"""For tests: a SageMaker on loopback that runs training jobs; everything else of AWS is moto's."""
