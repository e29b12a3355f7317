"""Contributions become one Given: provenance kept, nothing overwritten, nothing dropped in silence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchcore.host.merging import merge
from launchcore.plugin import (
    Contribution,
    CredentialHelper,
    EnvVar,
    Fault,
    Given,
    Kind,
    Label,
    LaunchError,
    Login,
    Reason,
    Secret,
    SecretFile,
    Volume,
)

ALL = frozenset(Kind)


def merged(
    *pairs: tuple[str, Contribution], applies: frozenset[Kind] = ALL, fixed: dict[str, str] | None = None
) -> Given:
    return merge(pairs, applies=applies, receiver="runner slurm (launch-slurm 1.0)", fixed=fixed or {})


def error(*pairs: tuple[str, Contribution], **options: Any) -> LaunchError:
    with pytest.raises(LaunchError) as caught:
        merged(*pairs, **options)
    return caught.value


def test_everything_is_sorted_into_its_kind_with_its_origin() -> None:
    env = EnvVar(name="AWS_REGION", value="north")
    file = SecretFile(name="creds", content=Secret("s"), path_env="CREDS")
    login = Login(host="h", username="u", password=Secret("p"))
    helper = CredentialHelper(host="h2", helper="ecr-login")
    label = Label(name="cost", value="42")
    volume = Volume(source="/a", path="/b")

    found = merged(
        ("aws 1", env), ("aws 1", file), ("b 1", login), ("b 1", helper), ("c 1", label), ("c 1", volume)
    )

    assert found == Given(
        env=(env,),
        files=(file,),
        logins=(login, helper),
        labels=(label,),
        volumes=(volume,),
        origin={
            "env:AWS_REGION": "aws 1",
            "file:creds": "aws 1",
            "login:h": "b 1",
            "login:h2": "b 1",
            "label:cost": "c 1",
            "volume:/b": "c 1",
        },
    )


@pytest.mark.parametrize(
    ("first", "second", "about"),
    [
        (EnvVar(name="A", value="1"), EnvVar(name="A", value="2"), "the variable A"),
        (EnvVar(name="A", value="1"), EnvVar(name="A", value=Secret("2")), "the variable A"),
        (
            SecretFile(name="f", content=Secret("1")),
            SecretFile(name="f", content=Secret("2")),
            "the file 'f'",
        ),
        (
            SecretFile(name="f", content=Secret("1"), path_env="X"),
            SecretFile(name="f", content=Secret("1"), path_env="Y"),
            "the file 'f'",
        ),
        (
            SecretFile(name="f", content=Secret("1"), path_env="X"),
            SecretFile(name="g", content=Secret("1"), path_env="X"),
            "the variable X",
        ),
        (
            SecretFile(name="f", content=Secret("1"), path_env="X"),
            EnvVar(name="X", value="/etc/f"),
            "the variable X",
        ),
        (
            Login(host="h", username="u", password=Secret("1")),
            Login(host="h", username="u", password=Secret("2")),
            "a login to 'h'",
        ),
        (
            Login(host="h", username="u", password=Secret("1")),
            CredentialHelper(host="h", helper="x"),
            "a login to 'h'",
        ),
        (Label(name="l", value="1"), Label(name="l", value="2"), "the label 'l'"),
        (Volume(source="/1", path="/v"), Volume(source="/2", path="/v"), "a volume at '/v'"),
        (
            Volume(source="/1", path="/v"),
            Volume(source="/1", path="/v", read_only=False),
            "a volume at '/v'",
        ),
    ],
)
def test_two_that_disagree_are_both_named(first: Contribution, second: Contribution, about: str) -> None:
    found = error(("aws 1.0", first), ("gcp 2.0", second))

    assert found.detail == f"aws 1.0 and gcp 2.0 disagree about {about}"
    assert found.reason is Reason.PLUGIN_ERROR
    assert found.fault is Fault.PLUGIN
    assert found.plugin == "gcp 2.0"


def test_no_value_is_ever_in_an_error() -> None:
    found = error(
        ("a 1", EnvVar(name="A", value="hunter2-plain")), ("b 1", EnvVar(name="A", value=Secret("hunter3")))
    )

    assert "hunter" not in f"{found} {found.detail} {found.hint}"


@pytest.mark.parametrize(
    "one",
    [
        EnvVar(name="A", value="1"),
        SecretFile(name="f", content=Secret("1"), path_env="X"),
        Login(host="h", username="u", password=Secret("1")),
        Label(name="l", value="1"),
        Volume(source="/1", path="/v"),
    ],
)
def test_the_same_twice_is_fine_and_the_first_is_its_origin(one: Contribution) -> None:
    found = merged(("a 1", one), ("b 1", one))

    assert found == merged(("a 1", one))
    assert set(found.origin.values()) == {"a 1"}


def test_a_secret_and_the_same_plain_text_agree_as_a_secret() -> None:
    plain, secret = EnvVar(name="A", value="x"), EnvVar(name="A", value=Secret("x"))

    assert merged(("a 1", plain), ("b 1", secret)).env == (secret,)
    assert merged(("a 1", secret), ("b 1", plain)).env == (secret,)


def test_a_login_minted_twice_agrees_but_for_its_end() -> None:
    first = Login(host="h", username="u", password=Secret("1"), expires_at=1.0)
    second = Login(host="h", username="u", password=Secret("1"), expires_at=2.0)

    assert merged(("a 1", first), ("b 1", second)).logins == (first,)


def test_required_wins_over_optional() -> None:
    found = merged(
        ("a 1", Label(name="l", value="1", optional=True)),
        ("b 1", Label(name="l", value="1", optional=False)),
    )

    assert found.labels == (Label(name="l", value="1"),)


def test_what_the_receiver_cannot_apply_is_an_error_naming_both() -> None:
    found = error(("aws 1.0", EnvVar(name="A", value="1")), applies=frozenset({Kind.LABEL}))

    assert found.detail == (
        "aws 1.0 contributes the variable A, which runner slurm (launch-slurm 1.0) cannot apply"
    )
    assert found.plugin == "aws 1.0"


def test_unless_it_is_optional() -> None:
    found = merged(("aws 1.0", EnvVar(name="A", value="1", optional=True)), applies=frozenset())

    assert found == Given()


def test_queue_and_run_win_over_contributions() -> None:
    found = merged(
        ("a 1", EnvVar(name="A", value="1")),
        ("b 1", EnvVar(name="A", value="2")),
        ("c 1", SecretFile(name="f", content=Secret("s"), path_env="PATH_TO_F")),
        fixed={"A": "mine", "PATH_TO_F": "/mine"},
    )

    assert found.env == ()
    assert found.files == (SecretFile(name="f", content=Secret("s")),)
    assert found.origin == {"file:f": "c 1"}


def test_the_cores_own_labels_are_nobodys_to_give() -> None:
    found = error(("a 1", Label(name="launchcore.owner", value="somebody")))

    assert found.detail == (
        "a 1 contributes the label 'launchcore.owner'; labels of that name are the core's own"
    )


_ENV = st.builds(
    lambda name, value, secret, optional: EnvVar(
        name=name, value=Secret(value) if secret else value, optional=optional
    ),
    st.sampled_from("ABC"),
    st.sampled_from(["x", "y"]),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(st.tuples(st.sampled_from(["p 1", "q 1"]), _ENV), max_size=6))
def test_the_order_of_plugins_never_decides_a_value(pairs: list[tuple[str, EnvVar]]) -> None:
    def outcome(those: list[tuple[str, EnvVar]]) -> object:
        try:
            return {one.name: (str(one.value), one.optional, Secret(text(one))) for one in merged(*those).env}
        except LaunchError:
            return "error"

    def text(one: EnvVar) -> str:
        return one.value if isinstance(one.value, str) else one.value.reveal()

    assert outcome(pairs) == outcome(pairs[::-1])
