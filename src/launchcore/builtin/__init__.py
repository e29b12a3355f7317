"""The plugins that ship with launchcore. They have no dependencies, and use the hooks like any other."""

BUILTIN = (
    "launchcore.queues.plugin",
    "launchcore.queues.http_plugin",
    "launchcore.builtin.git.plugin",
    "launchcore.builtin.archive.plugin",
    "launchcore.builtin.image.plugin",
    "launchcore.builtin.none.plugin",
    "launchcore.builtin.local.plugin",
    "launchcore.builtin.oci.plugin",
    "launchcore.builtin.process.plugin",
)
