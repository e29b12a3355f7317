"""Plugins without dependencies, registered through the same hooks as everybody's."""

BUILTIN = (
    "launchcore.queues.plugin",
    "launchcore.builtin.git.plugin",
    "launchcore.builtin.archive.plugin",
    "launchcore.builtin.image.plugin",
    "launchcore.builtin.none.plugin",
    "launchcore.builtin.local.plugin",
    "launchcore.builtin.process.plugin",
)
