"""A cloud of which the core has never heard: its environment, its registry, a builder without an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import attrs
import pytest

from launchcore.config.values import AgentConfig
from launchcore.host import Host
from launchcore.plugin import (
    BuilderSpec,
    BuildPlan,
    BuiltImage,
    Claim,
    Contribution,
    EnvironmentSpec,
    EnvVar,
    Given,
    ImageRef,
    Kind,
    LaunchError,
    Lease,
    QueueConfig,
    RegistrySpec,
    RunnerSpec,
    RunPlan,
    RunSpec,
    RunState,
    Secret,
    SecretFile,
    Site,
    SourceRef,
    SourceTree,
    StageContext,
    Update,
    hookimpl,
    setting,
)
from launchcore.stages.s0_claim import Chosen, choose
from launchcore.stages.s2_build import build
from launchcore.stages.s3_push import push
from launchcore.stages.s4_execute import plan_run
from launchcore.stages.work import StageFailed, Work
from launchcore.stages.workshop import Workshop
from launchcore.testing.context import RecordingContext
from launchcore.testing.sites import make_site

NOTHING: Any = object()
DIGEST = "sha256:" + "1" * 64


@attrs.frozen(kw_only=True)
class Shelf:
    repository: str | None = setting("Where images go.", default=None)


@attrs.frozen(kw_only=True)
class Yard:
    store: str | None = setting("Where contexts go.", default=None)


@attrs.define
class Sky:
    """An environment that remembers for what it was asked."""

    asked: list[str] = attrs.field(factory=list)

    def verify(self) -> str:
        return "sky as tester"

    def access(self, store: str) -> Sequence[EnvVar | SecretFile]:
        self.asked.append(store)
        key = EnvVar(name="SKY_KEY", value=Secret("canary-key"))
        return (EnvVar(name="SKY_REGION", value="north"), key) if store.startswith("sky://") else ()

    def contribute_to_run(self, plan: RunPlan) -> Sequence[Contribution]:
        return (EnvVar(name="SKY_REGION", value="north"),)


@attrs.define
class Harbour:
    """Knows its full name from the environment only; remembers which repositories it made."""

    sky: Any
    made: list[str] = attrs.field(factory=list)

    def resolve(self, repository: str) -> str:
        assert self.sky.verify() == "sky as tester"
        return repository if "/" in repository else f"north.sky.example/{repository}"

    def ensure(self, ref: ImageRef) -> None:
        self.made.append(ref.name.rpartition(":")[0])

    def digest(self, ref: ImageRef) -> str | None:
        return DIGEST

    def logins(self, repository: str) -> Sequence[Any]:
        return ()


@attrs.define
class Builder:
    seen: list[tuple[BuildPlan, Given]] = attrs.field(factory=list)

    def build(self, plan: BuildPlan, given: Given, context: StageContext) -> BuiltImage:
        self.seen.append((plan, given))
        assert plan.destination is not None
        ref = ImageRef(name=f"{plan.destination.repository}:tag")
        context.ensure(ref)
        return BuiltImage(ref=ref, pushed=True)

    def push(self, image: BuiltImage, plan: BuildPlan, given: Given, context: StageContext) -> ImageRef:
        raise AssertionError("a builder that pushes is not asked to push")

    def cleanup(self, attempt_id: str) -> None: ...


@attrs.define
class Cloud:
    """The plugin."""

    builder: Builder = attrs.field(factory=Builder)
    sites: dict[str, Site] = attrs.field(factory=dict)

    def _made(self, name: str, site: Site, what: Any) -> Any:
        self.sites[name] = site
        return what

    @hookimpl
    def launch_register_environments(self) -> Any:
        yield EnvironmentSpec(name="sky", summary="A cloud.", create=lambda *_: Sky())

    @hookimpl
    def launch_register_registries(self) -> Any:
        yield RegistrySpec(
            name="harbour",
            summary="In the sky.",
            settings=Shelf,
            repository=lambda settings: settings.repository,
            owns=lambda repository: repository.startswith("north.sky.example/"),
            requires_environment="sky",
            create=lambda _, site: self._made("harbour", site, Harbour(site.environment)),
        )

    @hookimpl
    def launch_register_builders(self) -> Any:
        yield BuilderSpec(
            name="yard",
            summary="Builds far away.",
            settings=Yard,
            pushes=True,
            applies=frozenset(Kind),
            stores=lambda settings: (settings.store,) if settings.store else (),
            create=lambda _, site: self._made("yard", site, self.builder),
        )

    @hookimpl
    def launch_register_runners(self) -> Any:
        yield RunnerSpec(
            name="boat", summary="Runs far away.", applies=frozenset(Kind), create=lambda *_: NOTHING
        )


class Desk(RecordingContext):
    """As much of a Work as the stages before a start need."""

    def __init__(self, root: Path, queue: QueueConfig) -> None:
        super().__init__()
        self.scratch = root
        self.start_before = 0.0
        self.masked: list[Secret] = []
        self.claim = Claim(
            lease=Lease(attempt_id="r-1", token="t", expires_at=0.0),
            run_id="r",
            attempt=1,
            queue="q",
            queue_config=queue,
            spec=RunSpec(source=SourceRef(type="archive", fields={"digest": "sha256:" + "0" * 64})),
            state=RunState.CLAIMED,
            submitted_at=0.0,
            claimed_at=0.0,
        )

    def mask(self, secrets: tuple[Secret, ...]) -> None:
        self.masked += secrets

    def pushes_to(self, registry: Any) -> None:
        self.registry = registry

    def builds_with(self, builder: Any) -> None: ...
    def note(self, event: Any) -> None: ...
    def hit(self, failpoint: str) -> None: ...
    def write(self, update: Update) -> None: ...


@attrs.define
class World:
    """An agent's configuration, and one run of it up to its start."""

    root: Path
    cloud: Cloud = attrs.field(factory=Cloud)

    def shop(self, **config: Any) -> Workshop:
        host = Host.load(extra=[("cloud", self.cloud)])
        said = AgentConfig(
            base_url="sqlite:///q", state_dir=self.root / "state", cache_dir=self.root / "cache", **config
        )
        return Workshop(host, said, make_site(self.root))

    def desk(self, **queue: Any) -> Desk:
        return Desk(self.root, QueueConfig(type="boat", **queue))

    def chosen(self, shop: Workshop, desk: Desk) -> Chosen:
        return choose(cast("Work", desk), shop, Secret)

    def tree(self) -> SourceTree:
        return SourceTree(path=self.root, identity="t", pinned=SourceRef(type="archive"))

    def built(self, shop: Workshop, desk: Desk) -> tuple[ImageRef | None, BuildPlan, Given]:
        work = cast("Work", desk)
        chosen = self.chosen(shop, desk)
        built, plan, given = build(work, shop, chosen, self.tree())
        return push(work, shop, chosen, built=built, plan=plan, given=given), *self.cloud.builder.seen[-1]


SKY: Mapping[str, Any] = {"environment": {"type": "sky"}}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_registry_gets_the_environment_and_says_the_full_name(world: World) -> None:
    shop = world.shop(**SKY, registry={"type": "harbour", "repository": "train"}, builder={"type": "yard"})
    image, plan, _ = world.built(shop, world.desk())

    assert plan.destination is not None
    assert plan.destination.repository == "north.sky.example/train"
    assert image == ImageRef(name="north.sky.example/train:tag", digest=DIGEST)


def test_a_builder_that_pushes_has_the_repository_made(world: World) -> None:
    shop = world.shop(**SKY, registry={"type": "harbour", "repository": "train"}, builder={"type": "yard"})
    desk = world.desk()
    world.built(shop, desk)

    assert cast("Any", desk.registry).made == ["north.sky.example/train"]


def test_nobody_else_gets_the_environment(world: World) -> None:
    shop = world.shop(**SKY, registry={"type": "harbour", "repository": "train"}, builder={"type": "yard"})
    world.built(shop, world.desk())

    assert world.cloud.sites["harbour"].environment is not None
    assert world.cloud.sites["yard"].environment is None


def test_access_to_a_store_is_for_the_builder_and_not_for_the_build(world: World) -> None:
    """A region in the variables of a build would be a build argument, and change the image's name."""
    shop = world.shop(
        **SKY,
        registry={"type": "harbour", "repository": "train"},
        builder={"type": "yard", "store": "sky://contexts"},
    )
    desk = world.desk()
    _, _, given = world.built(shop, desk)

    assert {each.name for each in given.access} == {"SKY_REGION", "SKY_KEY"}
    assert given.env == ()
    assert Secret("canary-key") in desk.masked


def test_no_store_no_access(world: World) -> None:
    shop = world.shop(**SKY, registry={"type": "harbour", "repository": "train"}, builder={"type": "yard"})
    _, _, given = world.built(shop, world.desk())

    assert given.access == ()
    assert cast("Any", shop.environment({"type": "sky"}).object).asked == []


def test_a_destination_alone_chooses_the_registry_that_owns_it(world: World) -> None:
    builder = {"type": "yard", "destination": "north.sky.example/team/train"}
    image, plan, _ = world.built(world.shop(**SKY, builder=builder), world.desk())

    assert plan.destination is not None
    assert (plan.destination.registry, plan.destination.repository) == ("harbour", builder["destination"])
    assert image is not None


def test_a_destination_that_nobody_owns_is_in_a_registry_of_the_common_protocol(world: World) -> None:
    shop = world.shop(**SKY, builder={"type": "yard", "destination": "ghcr.io/team/train"})
    chosen = world.chosen(shop, world.desk())

    assert chosen.registry is not None
    assert chosen.registry.spec.name == "oci"


def test_a_registry_that_is_said_wins_over_the_destination(world: World) -> None:
    builder = {"type": "yard", "destination": "north.sky.example/train"}
    chosen = world.chosen(world.shop(**SKY, builder=builder, registry={"type": "local"}), world.desk())

    assert chosen.registry is not None
    assert chosen.registry.spec.name == "local"


def test_without_registry_and_destination_images_stay_here(world: World) -> None:
    chosen = world.chosen(world.shop(**SKY, builder={"type": "yard"}), world.desk())

    assert chosen.registry is not None
    assert not chosen.registry.spec.remote


def test_a_queues_registry_that_needs_another_environment(world: World) -> None:
    """The agent's own is refused when it starts; a queue's is known only when a run comes."""
    shop = world.shop(builder={"type": "yard"})
    with pytest.raises(StageFailed) as caught:
        world.chosen(shop, world.desk(registry={"type": "harbour", "repository": "train"}))

    assert "needs the environment 'sky', and `environment` is 'local'" in caught.value.failure.detail


def test_two_plugins_that_own_one_destination_are_both_named(world: World) -> None:
    class Other:
        @hookimpl
        def launch_register_registries(self) -> Any:
            yield RegistrySpec(
                name="pier", summary="Too.", create=lambda *_: NOTHING, owns=lambda name: "sky" in name
            )

    host = Host.load(extra=[("cloud", world.cloud), ("other", Other())])
    with pytest.raises(LaunchError, match=r"north\.sky\.example/train") as caught:
        host.catalog.registry_of("north.sky.example/train")
    assert "cloud" in str(caught.value)
    assert "other" in str(caught.value)


def test_what_the_environment_gives_to_a_run_has_its_plugin_for_an_origin(world: World) -> None:
    shop = world.shop(**SKY, builder={"type": "yard"})
    desk = world.desk()
    chosen = world.chosen(shop, desk)
    _, given = plan_run(cast("Work", desk), shop, chosen, None, ImageRef(name="localhost/x:1"))

    assert [(each.name, each.value) for each in given.env] == [("SKY_REGION", "north")]
    assert "cloud" in given.origin["env:SKY_REGION"]
