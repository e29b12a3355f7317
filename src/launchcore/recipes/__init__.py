"""What builders share: a source tree → a Dockerfile, a build context, and the name of the image.

For authors of builders, beside :mod:`launchcore.plugin`. Pure but for reading the tree; knows no engine.
"""
