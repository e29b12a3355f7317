"""PostgreSQL's own: what is refused, what is survived, and many that write at a time."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from launchcore.plugin import (
    AgentInfo,
    LaunchError,
    Lease,
    LeaseLost,
    QueueConfig,
    QueueUnavailable,
    Reason,
    RunState,
)
from launchcore.queues.embedded import EmbeddedService
from launchcore.queues.embedded_client import EmbeddedClient
from launchcore.store import bell_postgres
from launchcore.store.database import Database, open_database
from launchcore.store.engine import Conflict
from launchcore.store.tables import attempts, queues, runs
from launchcore.store.writer import Transaction
from tests.postgres import PASSWORD, Server
from tests.store.rig import LEASE, LOST_AFTER, Agent, spec

pytestmark = pytest.mark.live
SOON = 60.0
"""Seconds that a machine under load may take for what takes milliseconds."""


@pytest.fixture
def url(postgres: Server) -> str:
    """Of a new, empty database."""
    return postgres.url(postgres.database())


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    made = Database(url)
    yield made
    made.close()


@pytest.fixture
def service(database: Database) -> EmbeddedService:
    made = EmbeddedService(database, lost_after=LOST_AFTER)
    made.create_queue("default", QueueConfig(type="process"))
    return made


def agent(database: Database, name: str = "one", queues: tuple[str, ...] = ("default",)) -> Agent:
    made = Agent(EmbeddedClient(database, lost_after=LOST_AFTER), info(name, queues))
    made.register()
    return made


def until(is_so: Callable[[], object]) -> None:
    end = time.monotonic() + SOON
    while not is_so():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.01)


def together(*calls: Callable[[], object]) -> list[Exception]:
    """Carry all of them out at the same time. Gives what they raised."""
    raised: list[Exception] = []
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> None:
        barrier.wait(SOON)
        try:
            call()
        except Exception as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
        assert not thread.is_alive()
    return raised


class TestOpening:
    @pytest.mark.parametrize(
        ("change", "says", "hint"),
        [
            (("/DB", "/nowhere"), "does not exist", "createdb"),
            ((f":{PASSWORD}@", ":wrong-one@"), "password authentication failed", "PGPASSWORD"),
            (("127.0.0.1", "no-such-host.invalid"), "no-such-host.invalid", "host"),
            (("/DB", "/DB?sslmode=verify-full&sslrootcert=/nowhere"), "SSL|certificate", "sslmode"),
        ],
        ids=["database", "password", "host", "certificate"],
    )
    def test_a_mistake_in_the_url_is_told(
        self, postgres: Server, change: tuple[str, str], says: str, hint: str
    ) -> None:
        url = postgres.url("DB", tcp=True).replace(*change)
        if "DB" in url:
            url = url.replace("DB", postgres.database())

        with pytest.raises(LaunchError, match=says) as error:
            Database(url)

        assert error.value.reason is Reason.CONFIG_ERROR
        assert hint in (error.value.hint or "")
        assert "\n" not in error.value.detail
        assert PASSWORD not in f"{error.value} {error.value.hint}"
        assert "wrong-one" not in f"{error.value} {error.value.hint}"

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://u:hush@h/db?no_such_option=1",
            "postgresql://u:hush@h:port/db",
            "postgresql://u:hush@[::1/x",
        ],
    )
    def test_what_is_no_url(self, url: str) -> None:
        with pytest.raises(LaunchError) as error:
            open_database(url)
        assert error.value.reason is Reason.CONFIG_ERROR
        assert "hush" not in f"{error.value} {error.value.hint}"

    def test_a_server_that_is_not_there_is_awaited(self, own_postgres: Server) -> None:
        url = own_postgres.url(own_postgres.database(), tcp=True)
        own_postgres.stop()
        with pytest.raises(QueueUnavailable, match="cannot be reached") as error:
            Database(url)
        assert PASSWORD not in str(error.value)

    def test_tables_of_something_else_are_left_alone(self, postgres: Server) -> None:
        name = postgres.database()
        postgres.execute("CREATE TABLE jobs (id int)", name)
        with pytest.raises(LaunchError, match="tables of something else: jobs"):
            Database(postgres.url(name))
        assert postgres.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", name) == [(1,)]

    def test_who_may_not_make_tables_is_told(self, postgres: Server) -> None:
        name = postgres.database()
        postgres.execute("DROP ROLE IF EXISTS guest")
        postgres.execute("CREATE ROLE guest LOGIN")
        url = postgres.url(name).replace("launch@", "guest@")
        with pytest.raises(LaunchError, match="permission denied") as error:
            Database(url)
        assert "own the database" in (error.value.hint or "")

    def test_a_newer_version_is_left_alone(self, postgres: Server, url: str) -> None:
        Database(url).close()
        with open_(url) as database:
            database.write(
                lambda tx: (
                    tx.connection.exec_driver_sql("INSERT INTO schema_versions VALUES (99, 'x', 0)").rowcount
                )
            )
        with pytest.raises(LaunchError, match="has version 99"):
            Database(url)

    def test_many_may_open_a_new_one_at_once(self, url: str) -> None:
        opened: list[Database] = []
        assert together(*[lambda: opened.append(Database(url))] * 6) == []
        identities = set()
        for database in opened:
            with database.read() as connection:
                identities.add(connection.exec_driver_sql("SELECT identity FROM service").scalar())
            database.close()
        assert len(identities) == 1

    def test_over_tcp_with_a_password(self, postgres: Server) -> None:
        url = postgres.url(postgres.database(), tcp=True)
        with open_(url) as database:
            assert PASSWORD not in database.name
            assert "127.0.0.1" in database.name

    def test_time_is_the_servers(self, postgres: Server, database: Database) -> None:
        ((before,),) = postgres.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        now = database.write(lambda tx: tx.now)
        ((after,),) = postgres.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        assert before <= now <= after  # type: ignore[operator]
        assert abs(database.clock() - now) < SOON


class TestGoingAway:
    """A server that goes away is unavailable, loses nothing, and is used again when it is back."""

    @pytest.mark.parametrize("how", ["stop", "kill"])
    def test_and_coming_back(self, own_postgres: Server, how: str) -> None:
        with open_(own_postgres.url(own_postgres.database())) as database:
            service = EmbeddedService(database)
            service.create_queue("default", QueueConfig(type="process"))
            one = agent(database)
            accepted = [service.submit("default", spec()).id for _ in range(5)]
            claim = one.one()

            getattr(own_postgres, how)()
            for _ in range(3):
                with pytest.raises(QueueUnavailable):
                    service.run(claim.run_id)
                with pytest.raises(QueueUnavailable):
                    service.submit("default", spec())
            own_postgres.start()

            assert service.run(claim.run_id).state is RunState.CLAIMED
            one.start(claim)
            one.end(claim)
            assert {run: service.run(run).id for run in accepted} == {run: run for run in accepted}

    def test_who_waits_hears_again(self, own_postgres: Server) -> None:
        name = own_postgres.database()
        with open_(own_postgres.url(name)) as database, open_(own_postgres.url(name)) as other:
            EmbeddedService(other).create_queue("default", QueueConfig(type="process"))
            one = agent(database)
            heard: set[str] = set()
            database.bell.hear(heard.update)
            until(lambda: "*" in heard)
            heard.clear()
            own_postgres.kill()
            own_postgres.start()
            found: list[object] = []
            waiting = threading.Thread(target=lambda: found.append(len(one.claim(wait=SOON))))
            waiting.start()
            until(lambda: "queue:default" in database.bell._counts)
            until(lambda: "*" in heard)  # it has a connection again
            EmbeddedService(other).submit("default", spec())
            waiting.join(SOON)
            assert found == [1]

    def test_a_connection_that_was_ended_is_replaced(self, postgres: Server, url: str) -> None:
        with open_(url) as database:
            service = EmbeddedService(database)
            service.create_queue("default", QueueConfig(type="process"))
            end_all(postgres, url)
            assert service.queue("default").name == "default"
            end_all(postgres, url)
            service.submit("default", spec())

    def test_in_the_middle_of_a_transaction(self, postgres: Server, url: str) -> None:
        with open_(url) as database:

            def cut(tx: Transaction) -> None:
                tx.execute(queues.insert(), row("half"))
                end_all(postgres, url)
                tx.execute(queues.insert(), row("other half"))

            with pytest.raises(QueueUnavailable):
                database.write(cut)
            assert EmbeddedService(database).list_queues() == ()


class TestManyAtATime:
    """As several replicas of a server do it."""

    def test_each_run_is_claimed_once(self, database: Database, service: EmbeddedService, url: str) -> None:
        total = 60
        accepted = [service.submit("default", spec()).id for _ in range(total)]
        with open_(url) as replica:
            agents = [agent(where, f"a{n}") for n, where in enumerate((database, replica) * 4)]
            taken: list[str] = []

            def work(one: Agent) -> None:
                while claims := one.claim(limit=3):
                    for claim in claims:
                        taken.append(claim.run_id)
                        one.start(claim)
                        one.end(claim)

            assert together(*[lambda one=one: work(one) for one in agents]) == []
        assert sorted(taken) == sorted(accepted)
        assert {service.run(run).state for run in accepted} == {RunState.SUCCEEDED}

    @pytest.mark.parametrize("limits", [{"max_running": 3}, {"max_running_per_submitter": 3}])
    def test_limits_are_exact(
        self, database: Database, service: EmbeddedService, url: str, limits: dict[str, int]
    ) -> None:
        service.create_queue("narrow", QueueConfig(type="process", **limits))  # type: ignore[arg-type]
        for _ in range(40):
            service.submit("narrow", spec(), submitter="ann")
        most: list[int] = []
        live = sa.select(sa.func.count()).select_from(attempts).where(attempts.c.ended_at.is_(None))
        with open_(url) as replica:
            agents = [agent(where, f"a{n}", ("narrow",)) for n, where in enumerate((database, replica) * 3)]
            left = collections.Counter({"runs": 40})

            def work(one: Agent) -> None:
                while left["runs"] > 0:
                    claims = one.claim("narrow", limit=2)
                    with database.read() as connection:
                        most.append(connection.execute(live).scalar_one())
                    for claim in claims:
                        one.start(claim)
                        one.end(claim)
                        left["runs"] -= 1

            assert together(*[lambda one=one: work(one) for one in agents]) == []
        assert max(most) == 3

    def test_queues_in_any_order_make_no_ring(
        self, database: Database, service: EmbeddedService, url: str
    ) -> None:
        names = ("a", "b", "c")
        for name in names:
            service.create_queue(name, QueueConfig(type="process", max_running=50))
            for _ in range(15):
                service.submit(name, spec())
        before = deadlocks(database)
        with open_(url) as replica:
            agents = [agent(database, "up", names), agent(replica, "down", names[::-1])]
            calls = [
                lambda: [agents[0].claim(*names, limit=1) for _ in range(20)],
                lambda: [agents[1].claim(*names[::-1], limit=1) for _ in range(20)],
            ]
            assert together(*calls, *calls) == []
        assert deadlocks(database) == before

    def test_a_cancel_and_an_end_at_the_same_time(
        self, database: Database, service: EmbeddedService, url: str
    ) -> None:
        """Each ends in one of the two ways, without a deadlock."""
        one = agent(database)
        before = deadlocks(database)
        with open_(url) as replica:
            other = EmbeddedService(replica)
            for _ in range(25):
                run = service.submit("default", spec())
                claim = one.one()
                one.start(claim)
                raised = together(lambda: one.end(claim), lambda: other.cancel(run.id))  # noqa: B023
                assert raised == []
                assert service.run(run.id).state is RunState.SUCCEEDED
        assert deadlocks(database) == before

    def test_a_cancel_and_a_claim_at_the_same_time(
        self, database: Database, service: EmbeddedService, url: str
    ) -> None:
        """A run that was cancelled before it was claimed is not claimed; one that was claimed is to stop."""
        one = agent(database)
        with open_(url) as replica:
            other = EmbeddedService(replica)
            for _ in range(25):
                run = service.submit("default", spec())
                claims: list[object] = []
                raised = together(lambda: claims.extend(one.claim()), lambda: other.cancel(run.id))  # noqa: B023
                assert raised == []
                ended = service.run(run.id)
                if claims:
                    assert ended.state is RunState.CLAIMED
                    assert ended.cancel_requested_at is not None
                    (live,) = one.client.stops(one.info, frozenset(), wait=0)
                    one.client.release(live_lease(database, live.attempt_id), "stopped")
                else:
                    assert ended.state is RunState.CANCELLED

    def test_a_submit_and_a_deletion_at_the_same_time(
        self, database: Database, service: EmbeddedService, url: str
    ) -> None:
        """No run is left in a queue that is gone."""
        with open_(url) as replica:
            other = EmbeddedService(replica)
            for turn in range(20):
                name = f"q{turn}"
                service.create_queue(name, QueueConfig(type="process"))
                raised = together(
                    lambda: service.submit(name, spec()),  # noqa: B023
                    lambda: other.delete_queue(name, force=True),  # noqa: B023
                )
                assert all(isinstance(error, LaunchError) for error in raised), raised
        left = (
            sa.select(sa.func.count())
            .select_from(runs.join(queues, queues.c.id == runs.c.queue_id))
            .where(queues.c.deleted_at.is_not(None), runs.c.state == "queued")
        )
        with database.read() as connection:
            assert connection.execute(left).scalar() == 0

    def test_the_same_key_is_one_run(self, service: EmbeddedService, url: str) -> None:
        found: list[str] = []
        with open_(url) as replica:
            doors = [service, EmbeddedService(replica)] * 3
            calls = [
                lambda door=door: found.append(door.submit("default", spec(), key="once").id)
                for door in doors
            ]
            assert together(*calls) == []
        assert len(found) == 6
        assert len(set(found)) == 1

    def test_a_name_is_one_queue_and_one_agent(self, database: Database, service: EmbeddedService) -> None:
        config = QueueConfig(type="process")
        raised = together(*[lambda: service.create_queue("same", config)] * 4)
        assert [type(error) for error in raised] == [LaunchError] * 3
        assert all("exists already" in str(error) for error in raised)
        raised = together(*[lambda n=n: agent_of(database, n).register() for n in range(4)])
        assert len(raised) == 3

    def test_many_operations_of_one_thread(self, database: Database) -> None:
        def insert(name: str) -> Callable[[Transaction], str]:
            def operation(tx: Transaction) -> str:
                tx.execute(queues.insert(), row(name))
                return name

            return operation

        def fails(_tx: Transaction) -> str:
            raise LeaseLost("gone")

        done = database.write_many([insert("a"), fails, insert("b")])
        assert [value for value, _ in done] == ["a", None, "b"]
        assert isinstance(done[1][1], LeaseLost)
        done = database.write_many([insert("c"), insert("a")])
        assert done[0] == ("c", None)
        assert isinstance(done[1][1], Conflict)


class TestBell:
    def test_long_lists_of_topics_wake_everybody(self, database: Database, url: str) -> None:
        with open_(url) as other, database.bell.listen(["queue:default"]) as ear:
            until(lambda: ear.wait(0.2) or True)
            other.bell.ring([f"run:{number}" * 20 for number in range(200)])
            assert ear.wait(SOON)

    def test_what_is_rung_just_before_the_end_is_heard(self, database: Database, url: str) -> None:
        with database.bell.listen(["queue:default"]) as ear:
            assert ear.wait(SOON)  # its connection is new
            with open_(url) as other:
                other.bell.ring(["queue:default"])
            assert ear.wait(SOON)

    def test_what_arrives_with_an_answer_is_heard(
        self, database: Database, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Both send all the time, so that most messages arrive while the other one waits for an answer."""
        monkeypatch.setattr(bell_postgres, "RECHECK_SECONDS", 3600.0)
        heard: set[str] = set()
        with open_(url) as other:
            database.bell.hear(heard.update)
            until(lambda: heard)  # its connection is new
            for number in range(300):
                other.bell.ring([f"there:{number}"])
                database.bell.ring([f"here:{number}"])
            until(lambda: {f"there:{number}" for number in range(300)} <= heard)

    def test_a_look_now_and_then_finds_what_was_lost(
        self, database: Database, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bell_postgres, "RECHECK_SECONDS", 0.1)
        with open_(url) as other, database.bell.listen(["queue:default"]) as ear:
            assert ear.wait(SOON)
            monkeypatch.setattr(other._writer, "_ring", lambda _topics: None)
            EmbeddedService(other).create_queue("default", QueueConfig(type="process"))
            assert ear.wait(SOON)


def open_(url: str) -> Opened:
    return Opened(url)


class Opened:
    """A database for a block."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> Database:
        self._database = Database(self._url)
        return self._database

    def __exit__(self, *_: object) -> None:
        self._database.close()


def agent_of(database: Database, number: int) -> Agent:
    return Agent(EmbeddedClient(database), info("same", ("default",))).restart(f"session-{number}")


def info(name: str, queues: tuple[str, ...]) -> AgentInfo:
    return AgentInfo(name=name, session=f"{name}-1", host="here", pid=1, version="0", queues=queues)


def row(name: str) -> dict[str, object]:
    return {"name": name, "revision": 1, "created_at": 0.0, "updated_at": 0.0}


def live_lease(database: Database, attempt_id: str) -> Lease:
    newest = (
        sa.select(attempts.c.lease_token)
        .order_by(attempts.c.claimed_at.desc(), attempts.c.id.desc())
        .limit(1)
    )
    with database.read() as connection:
        token = connection.execute(newest).scalar_one()
    return Lease(attempt_id=attempt_id, token=token, expires_at=LEASE)


def deadlocks(database: Database) -> object:
    with database.read() as connection:
        query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        return connection.exec_driver_sql(query).scalar()


def end_all(server: Server, url: str) -> None:
    """Every connection to a database, as an administrator would."""
    name = url.partition("@/")[2].partition("?")[0]
    server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
