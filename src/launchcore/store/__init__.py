"""The queue's tables and transactions: the only SQL in the project.

:class:`launchcore.store.database.Database` is one open file; the other modules are functions over
one of its transactions. The two sides of the queue are in :mod:`launchcore.queues.embedded` (users) and
:mod:`launchcore.queues.embedded_client` (agents).
"""
