"""For tests: a SageMaker on loopback that runs training jobs; everything else of AWS is moto's.

``endpoint`` is the API and the jobs made with it, ``faults`` is what tests script to go wrong,
``containers`` and ``engine`` are what runs the containers, and ``fixtures`` has all of it for pytest.
``python -m launch_sagemaker.testing`` is for whoever wants to try the runner without AWS.

What it does not model: Pipe mode (a channel is a folder), file systems (empty folders), training plans,
``RetryStrategy``, the debugger and the profiler. FailureReasons and messages are like AWS's, not the same.
"""
