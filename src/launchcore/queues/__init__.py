"""Queue services: the user's side (:mod:`~launchcore.queues.base`), admission, and the embedded queue."""
