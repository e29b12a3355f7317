"""For tests: a SageMaker on loopback that runs training jobs; everything else of AWS is moto's.

:mod:`~launch_sagemaker.testing.endpoint` is the API and the jobs made with it, :mod:`.faults` is what tests
script to go wrong, :mod:`.containers` and :mod:`.engine` are what runs the containers, :mod:`.fixtures` has all
of it for pytest, and ``python -m launch_sagemaker.testing`` for whoever wants to try the runner without AWS.

What it does not model: Pipe mode (a channel is a folder), file systems (empty folders), training plans,
``RetryStrategy``, the debugger and the profiler. FailureReasons and messages are like AWS's, not copies of all.
"""
