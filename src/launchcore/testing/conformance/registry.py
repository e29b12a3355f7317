"""What the core relies on in every registry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from launchcore.host.settings import structure
from launchcore.plugin import (
    Fault,
    ImageRef,
    LaunchError,
    Login,
    Registry,
)
from launchcore.testing.conformance.leaks import Records, error_of
from launchcore.testing.conformance.suite import Suite, load_plugin, undocumented
from launchcore.testing.sites import make_site


class RegistryBench:
    """One registry of one test."""

    def __init__(
        self,
        root: Path,
        *,
        plugin: str,
        name: str,
        settings: Mapping[str, Any],
        environment: Mapping[str, Any] | None = None,
    ) -> None:
        self.root = root
        catalog = load_plugin(plugin).catalog
        self.spec = catalog.registry(name).spec
        self.raw = settings
        self.settings: Any = structure(self.spec.settings, settings, path="registry")
        self.site = make_site(root / "site")
        if self.spec.requires_environment is not None:
            needed = catalog.environment(self.spec.requires_environment).spec
            made: Any = structure(needed.settings, environment or {}, path="environment")
            self.site = attrs.evolve(self.site, environment=needed.create(made, self.site))
        self.registry = self.again()

    def again(self, **changes: Any) -> Registry:
        """Another registry object at the same site, with other settings."""
        made: Any = structure(self.spec.settings, {**self.raw, **changes}, path="registry")
        return self.spec.create(made, self.site)

    @property
    def repository(self) -> str | None:
        """As the settings call it."""
        return self.spec.repository(self.settings)

    @property
    def full(self) -> str | None:
        """As everybody calls it who has not read the settings."""
        return self.registry.resolve(self.repository) if self.repository else None


class RegistryConformance(Suite):
    """Subclass it, set ``plugin`` and ``name``, and override :meth:`present` and what follows it.

    A registry that is only this machine says so in its descriptor (``remote=False``).
    """

    plugin: ClassVar[str]
    """The plugin's module, as its entry point names it."""
    name: ClassVar[str]
    """The registry's name."""
    settings: Mapping[str, Any] = {}
    """The ``registry:`` block, without its type."""
    environment: Mapping[str, Any] = {}
    """The ``environment:`` block, without its type, where the registry requires one of the same plugin."""
    away: Mapping[str, Any] | None = None
    """Further settings with which nobody answers; ``None``: that cannot be."""
    environment_away: Mapping[str, Any] = {}
    """Further settings of the environment, for the same."""
    secret: str | None = None
    """The password of the login that ``settings`` lead to, if they do."""

    def present(self, bench: RegistryBench) -> ImageRef:
        """Put an image into the registry; its reference with the digest. Needed where it is remote."""
        raise NotImplementedError(f"{self.name}: override present")

    def absent(self, bench: RegistryBench) -> ImageRef:
        """A reference that could be there, and is not."""
        return ImageRef(name=f"{bench.full}:not-there")

    def make_bench(self, root: Path) -> RegistryBench:
        return self._bench(root, self.settings, self.environment)

    @pytest.fixture
    def bench(self, tmp_path: Path) -> RegistryBench:
        return self.make_bench(tmp_path)

    def test_every_setting_is_documented(self, bench: RegistryBench) -> None:
        """Help is all that a user reads of a setting.

        If this fails, check that every field is made with ``setting("…")``.
        """
        assert [*undocumented(bench.spec.settings)] == []

    def test_a_remote_registry_names_its_repository(self, bench: RegistryBench) -> None:
        """Without a tag: the builder adds one.

        If this fails, check the descriptor's ``repository``.
        """
        if not bench.spec.remote:
            assert bench.repository is None
            return
        assert bench.repository
        assert ":" not in bench.repository.rpartition("/")[2]
        assert "@" not in bench.repository

    def test_a_full_name_is_itself(self, bench: RegistryBench) -> None:
        """The core resolves what a configuration says, and everybody else gets the full name: another
        object, of another agent, must come to the same, and resolving it again must change nothing.

        If this fails, check that ``resolve`` returns a name with a host as it is.
        """
        for name in filter(None, (bench.repository, "localhost/launch", "registry.example.com:5000/team/x")):
            full = bench.registry.resolve(name)
            assert bench.registry.resolve(full) == full
            assert bench.again().resolve(name) == full
            if name != bench.repository:
                assert full == name

    def test_ensure_may_be_repeated(self, bench: RegistryBench) -> None:
        """It is called before each push.

        If this fails, check that "already exists" is no error.
        """
        ref = self.absent(bench)
        bench.registry.ensure(ref)
        bench.again().ensure(ref)

    def test_ensure_makes_no_image(self, bench: RegistryBench) -> None:
        """A repository is not an image.

        If this fails, check what ``ensure`` creates.
        """
        ref = self.absent(bench)
        bench.registry.ensure(ref)
        assert bench.registry.digest(ref) is None

    def test_what_is_not_there_is_none(self, bench: RegistryBench) -> None:
        """That is an answer, not an error: then it is built.

        If this fails, check that "not found", of the image and of the repository, gives ``None``.
        """
        assert bench.registry.digest(self.absent(bench)) is None

    def test_the_digest_of_what_is_there(self, bench: RegistryBench) -> None:
        """The same for everybody and each time; builds are skipped and runs are pinned by it.

        If this fails, check that the digest is the manifest's, and that every kind of manifest is accepted.
        """
        ref = self._present(bench)
        found = bench.registry.digest(attrs.evolve(ref, digest=None))
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", found or "")
        assert found == ref.digest
        assert bench.again().digest(attrs.evolve(ref, digest=None)) == found

    def test_a_digest_can_be_asked_for_by_digest(self, bench: RegistryBench) -> None:
        """A pinned reference is there, or is not: the tag does not matter any more.

        If this fails, check that ``ref.digest`` is what is asked for when it is there.
        """
        ref = self._present(bench)
        wrong = attrs.evolve(ref, digest=f"sha256:{'0' * 64}")
        assert bench.registry.digest(ref) == ref.digest
        assert bench.registry.digest(wrong) is None

    def test_one_that_is_away_says_so(self, bench: RegistryBench) -> None:
        """An error, since "not there" would mean that everything is built anew.

        If this fails, check that ``digest`` raises LaunchError with one line when nobody answers.
        """
        if self.away is None:
            pytest.skip("it cannot be away")
        with pytest.raises(LaunchError) as caught:
            self._away(bench)
        assert caught.value.fault is not Fault.USER
        assert caught.value.detail.strip()
        assert "\n" not in caught.value.detail

    def test_logins_are_for_the_repositorys_host(self, bench: RegistryBench) -> None:
        """A login with another host is never found by who needs it.

        If this fails, check the ``host`` of each login: that of the repository, with its port.
        """
        if bench.full is None:
            assert tuple(bench.registry.logins("localhost/launch")) == ()
            return
        logins = bench.registry.logins(bench.full)
        host = bench.full.partition("/")[0]
        if self.secret is not None:
            assert logins
        assert {login.host for login in logins} <= {host}

    def test_nobody_else_gets_the_login(self, bench: RegistryBench) -> None:
        """A run may name an image of any registry: its owner must not get our password.

        If this fails, check that ``logins`` looks at the host of the repository that it is asked for.
        """
        host = (bench.full or "localhost/x").partition("/")[0]
        for foreign in (
            "registry.evil.invalid/team/x",
            "evil.invalid:5000/x",
            f"{host}.evil.invalid/x",
        ):
            given = bench.registry.logins(foreign)
            passwords = [login.password.reveal() for login in given if isinstance(login, Login)]
            assert self.secret is None or self.secret not in passwords

    def test_secrets_show_nowhere(self, bench: RegistryBench) -> None:
        """Not in a log, a representation or an error.

        If this fails, check where ``Secret.reveal()`` is called, and what becomes of its result.
        """
        if self.secret is None:
            pytest.skip("there is no login")
        with Records() as records:
            shown = [repr(bench.registry), str(vars(bench.registry)), repr(bench.settings)]
            shown.append(str(bench.registry.logins(bench.full or "")))
            shown.append(error_of(lambda: bench.registry.digest(self.absent(bench))))
            if self.away is not None:
                shown.append(error_of(lambda: self._away(bench)))
        assert not [each for each in (*shown, records.text()) if self.secret in each]

    def _away(self, bench: RegistryBench) -> None:
        """Ask where nobody answers."""
        settings = {**self.settings, **(self.away or {})}
        environment = {**self.environment, **self.environment_away}
        away = self._bench(bench.root / "away", settings, environment)
        # Where the repository's name has the address in it, nobody answers under another name.
        moved = away.repository != bench.repository
        away.registry.digest(self.absent(away if moved else bench))

    def _bench(
        self, root: Path, settings: Mapping[str, Any], environment: Mapping[str, Any]
    ) -> RegistryBench:
        return RegistryBench(
            root, plugin=self.plugin, name=self.name, settings=settings, environment=environment
        )

    def _present(self, bench: RegistryBench) -> ImageRef:
        if not bench.spec.remote:
            pytest.skip("nothing is stored there")
        return self.present(bench)
