"""What an agent and a run say about archives."""

from __future__ import annotations

import attrs

from launchcore.builtin.fields import a_digest, a_subdir, positive
from launchcore.plugin import setting


@attrs.frozen(kw_only=True)
class ArchiveSettings:
    """``plugins.archive``: bounds on what strangers upload."""

    max_bytes: int = setting(
        "The most bytes that one archive may unpack to.", default=4 << 30, validator=positive
    )
    max_files: int = setting(
        "The most files and directories in one archive.", default=100_000, validator=positive
    )
    max_ratio: int = setting(
        "The most times its own size that an archive may unpack to (from 64 MiB on).",
        default=400,
        validator=positive,
    )
    cache_bytes: int = setting(
        "About how many bytes of unpacked archives to keep for later runs.",
        default=10 << 30,
        validator=positive,
    )


@attrs.frozen(kw_only=True)
class ArchiveFields:
    """``source: {type: archive, digest: "sha256:…"}``."""

    digest: str = setting("The SHA-256 of the uploaded archive, as `sha256:HEX`.", validator=a_digest)
    subdir: str | None = setting(
        "The directory in it that the run works in.", default=None, validator=a_subdir
    )
