"""SageMaker for launchcore: the runner `sagemaker`."""
