"""The queue service over HTTP: ``launch server``.

``endpoints.py`` says what an endpoint is, ``routes/`` has them all, ``access.py`` who may call which, and
``app.py`` puts them together. What a request asks of the store happens on threads (``core.py``); whoever
waits, waits on the event loop (``waiting.py``).
"""
