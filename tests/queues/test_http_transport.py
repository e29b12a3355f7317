"""What the HTTP client does when the way to the service, or the service, misbehaves."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from launchcore.plugin import (
    AgentInfo,
    AgentNameTaken,
    Cancelled,
    Fault,
    LaunchError,
    Lease,
    LeaseLost,
    LogAppend,
    LogBehind,
    LogPosition,
    QueueConfig,
    QueueDamaged,
    QueueUnavailable,
    Reason,
    RunSpec,
    Secret,
    SourceRef,
    Update,
)
from launchcore.queues.base import NotFound
from launchcore.queues.http_client import HttpClient
from launchcore.queues.http_problems import Refused, one_line, retry_after
from launchcore.queues.http_service import HttpService
from launchcore.queues.http_settings import HttpSettings, parse_address
from tests.queues.scripted import (
    BAD_GATEWAY,
    HTML,
    LATER,
    Act,
    Scripted,
    answer,
    cut,
    cut_head,
    garbage,
    problem,
    silent,
    swallow,
)

TOKEN = "lc_abc_a-token-that-nobody-may-see"
NO_QUEUES = answer({"queues": []})
CONFIG = QueueConfig(type="process")
SPEC = RunSpec(source=SourceRef(type="image", fields={"image": "x"}))
AGENT = AgentInfo(name="a", session="s", host="h", pid=1, version="0", queues=("q",))
NO_CLAIMS = answer({"claims": []})
LEASE = Lease(attempt_id="r-1", token="t", expires_at=0.0)
SOON = 60.0


@pytest.fixture
def serve() -> Iterator[Callable[..., Scripted]]:
    made: list[Scripted] = []

    def make(*acts: Act, **options: Any) -> Scripted:
        made.append(Scripted(*acts, **options))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def service(serve: Callable[..., Scripted]) -> Iterator[Callable[..., tuple[HttpService, Scripted]]]:
    made: list[HttpService] = []

    def make(*acts: Act, patience: float = SOON, **settings: Any) -> tuple[HttpService, Scripted]:
        server = serve(*acts)
        made.append(HttpService(server.url, HttpSettings(**settings), patience=patience))
        return made[-1], server

    yield make
    for each in made:
        each.close()


@pytest.fixture
def client(serve: Callable[..., Scripted]) -> Iterator[Callable[..., tuple[HttpClient, Scripted]]]:
    made: list[HttpClient] = []

    def make(*acts: Act, patience: float = SOON, **settings: Any) -> tuple[HttpClient, Scripted]:
        server = serve(*acts)
        made.append(HttpClient(server.url, HttpSettings(**settings), patience=patience))
        return made[-1], server

    yield make
    for each in made:
        each.close()


def claim(client: HttpClient, wait: float = 0.0) -> Any:
    return client.claim(AGENT, ["q"], limit=1, lease_seconds=30, wait=wait)


class TestRepeats:
    @pytest.mark.parametrize("trouble", [swallow, cut, cut_head, garbage, BAD_GATEWAY, LATER])
    def test_what_may_be_done_twice(self, service: Any, trouble: Act) -> None:
        queues, server = service(trouble, trouble, NO_QUEUES)
        assert list(queues.list_queues()) == []
        assert len(server.requests) == 3

    @pytest.mark.parametrize("trouble", [swallow, cut, cut_head, garbage, BAD_GATEWAY, LATER])
    def test_never_what_may_not(self, service: Any, trouble: Act) -> None:
        queues, server = service(trouble, NO_QUEUES)
        with pytest.raises(QueueUnavailable, match="may have been done all the same"):
            queues.create_queue("q", CONFIG)
        assert len(server.requests) == 1

    def test_even_that_when_it_was_only_too_much(self, service: Any) -> None:
        info = {"name": "q", "config": {"type": "process"}, "created_at": 0, "updated_at": 0}
        queues, server = service(problem("too_many_requests", 429), answer(info))
        assert queues.create_queue("q", CONFIG).name == "q"
        assert len(server.requests) == 2

    def test_a_submit_with_one_key(self, service: Any) -> None:
        run = {"id": "r", "queue": "q", "state": "queued", "priority": 2, "submitter": "", "submitted_at": 0}
        run["spec"] = {"source": {"type": "image", "fields": {}}}
        queues, server = service(swallow, swallow, answer(run), answer(run))
        assert queues.submit("q", SPEC).id == "r"
        queues.submit("q", SPEC)
        keys = [request.headers["idempotency-key"] for request in server.requests]
        assert keys[0] == keys[1] == keys[2] != keys[3]

    @pytest.mark.parametrize("key", ["plain-1", "with ü", "\x1b[31m", " spaces ", "line\nbreak", "\ud800"])
    def test_any_key_fits_into_its_header(self, service: Any, key: str) -> None:
        queues, server = service(problem("not_found", 404))
        with pytest.raises(NotFound):
            queues.submit("q", SPEC, key=key)
        assert server.requests[0].headers["idempotency-key"]

    def test_a_delete_that_was_done_is_done(self, service: Any) -> None:
        gone = problem("not_found", 404, detail="no such queue")
        queues, _ = service(swallow, gone)
        queues.delete_queue("q")
        queues, _ = service(gone)
        with pytest.raises(NotFound):
            queues.delete_queue("q")

    def test_with_patience_and_no_more(self, service: Any) -> None:
        queues, server = service(BAD_GATEWAY, patience=0.0)
        with pytest.raises(QueueUnavailable, match="HTTP 502"):
            queues.list_queues()
        assert len(server.requests) == 1

    def test_not_before_the_service_wants_it(self, service: Any) -> None:
        """It asks for more than our patience: the caller hears it at once, and how long."""
        queues, server = service(problem("unavailable", 503, detail="upgrading"), patience=1.0)
        server.acts = [answer(b"", status=503, Retry_After="40")]
        with pytest.raises(QueueUnavailable) as error:
            queues.list_queues()
        assert error.value.retry_after == 40.0
        assert len(server.requests) == 1

    def test_when_nobody_is_there(self, serve: Any) -> None:
        server = serve(NO_QUEUES)
        server.close()
        queues = HttpService(server.url, HttpSettings(), patience=0.2)
        with pytest.raises(QueueUnavailable, match="refused"):
            queues.create_queue("q", CONFIG)

    def test_a_name_that_nobody_knows(self) -> None:
        queues = HttpService("http://launch.invalid", HttpSettings(), patience=0.0)
        with pytest.raises(QueueUnavailable):
            queues.list_queues()

    def test_a_service_that_is_silent(self, service: Any) -> None:
        queues, server = service(silent, NO_QUEUES, read_seconds=0.2)
        assert list(queues.list_queues()) == []
        assert len(server.requests) == 2


class TestStrangers:
    """Something answers that is no queue service: a proxy's page, another program."""

    def test_a_page_is_no_list_of_queues(self, service: Any) -> None:
        queues, _ = service(HTML)
        with pytest.raises(LaunchError, match="no queue service of launchcore answers there") as error:
            queues.list_queues()
        assert (error.value.reason, error.value.fault) == (Reason.CONFIG_ERROR, Fault.USER)
        assert error.value.hint

    @pytest.mark.parametrize("status", [404, 403, 418])
    def test_nor_is_a_page_with_another_status(self, service: Any, status: int) -> None:
        queues, _ = service(answer(b"<h1>\x1b[2J</h1>", status=status, kind="text/html"))
        with pytest.raises(LaunchError, match="no queue service of launchcore") as error:
            queues.list_queues()
        assert "\x1b" not in str(error.value)

    @pytest.mark.parametrize("body", [b"[]", b"{}", b"null", b'{"queues": [1]}', b"\xff", b"[" * 100_000])
    def test_json_of_another_shape_is_none_either(self, service: Any, body: bytes) -> None:
        queues, _ = service(answer(body))
        with pytest.raises(LaunchError, match="no queue service of launchcore"):
            queues.list_queues()

    @pytest.mark.parametrize("act", [HTML, answer(b"", status=404), problem("unauthorized", 401)])
    def test_an_agent_at_work_goes_on(self, client: Any, act: Act) -> None:
        agent, _ = client(act)
        calls: tuple[Callable[[], object], ...] = (
            lambda: claim(agent),
            lambda: agent.renew(AGENT, [LEASE], lease_seconds=30),
            lambda: agent.write(LEASE, Update()),
            lambda: agent.stops(AGENT, frozenset(), wait=0),
            lambda: agent.ended(["r-1"]),
            lambda: agent.open_archive(f"sha256:{'0' * 64}"),
        )
        for call in calls:
            with pytest.raises(QueueUnavailable):
                call()

    @pytest.mark.parametrize("act", [HTML, problem("unauthorized", 401)])
    def test_an_agent_that_begins_says_so(self, client: Any, act: Act) -> None:
        agent, _ = client(act)
        calls: tuple[Callable[[], object], ...] = (
            agent.identity,
            lambda: agent.queue_config("q"),
            lambda: agent.register(AGENT, lease_seconds=30),
        )
        for call in calls:
            with pytest.raises(Refused):
                call()

    def test_an_answer_without_end_is_none(self, service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("launchcore.queues.http_transport.MAX_ANSWER", 1000)
        queues, _ = service(answer(b" " * 2000))
        with pytest.raises(LaunchError, match="more than 1000 bytes"):
            queues.list_queues()

    def test_a_newer_service_may_say_more(self, service: Any) -> None:
        queues, _ = service(answer({"queues": [], "new": 1}))
        assert list(queues.list_queues()) == []


class TestRedirects:
    def test_within_the_service_are_followed(self, service: Any) -> None:
        queues, server = service(
            answer(b"", status=307, Location="/v1/elsewhere"), NO_QUEUES, token=Secret(TOKEN)
        )
        assert list(queues.list_queues()) == []
        assert [request.target for request in server.requests] == ["/v1/queues", "/v1/elsewhere"]
        assert server.requests[1].headers["authorization"] == f"Bearer {TOKEN}"

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_to_another_place_are_not(self, service: Any, serve: Any, status: int) -> None:
        other = serve(NO_QUEUES)
        queues, _ = service(
            answer(b"", status=status, Location=f"{other.url}/v1/queues"), token=Secret(TOKEN)
        )
        with pytest.raises(LaunchError, match="redirects to") as error:
            queues.list_queues()
        assert other.requests == []
        assert "base_url" in str(error.value.hint)

    def test_do_not_turn_a_submit_into_something_else(self, service: Any) -> None:
        queues, server = service(answer(b"", status=302, Location="/login"))
        with pytest.raises(LaunchError):
            queues.submit("q", SPEC)
        assert len(server.requests) == 1

    def test_in_a_circle_end(self, service: Any) -> None:
        queues, _ = service(answer(b"", status=307, Location="/v1/queues"))
        with pytest.raises(LaunchError, match="redirects without end"):
            queues.list_queues()


class TestTokens:
    def test_go_with_every_request(self, service: Any) -> None:
        queues, server = service(NO_QUEUES, token=Secret(f"{TOKEN}\n"))
        queues.list_queues()
        assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"

    def test_come_from_a_file_that_is_read_again(self, service: Any, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_text("old\n")
        queues, server = service(NO_QUEUES, problem("unauthorized", 401), NO_QUEUES, token_file=file)
        queues.list_queues()
        file.write_text("new\n")
        queues.list_queues()
        sent = [request.headers["authorization"] for request in server.requests]
        assert sent == ["Bearer old", "Bearer old", "Bearer new"]

    def test_that_are_refused_are_not_sent_for_ever(self, service: Any, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_text("old")
        queues, server = service(problem("unauthorized", 401, detail="revoked"), token_file=file)
        with pytest.raises(LaunchError, match="revoked"):
            queues.list_queues()
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        "url", ["http://10.0.0.1", "http://launch.example.com:8080/x", "http://[2001:db8::1]"]
    )
    def test_do_not_go_over_a_network_in_clear(self, url: str) -> None:
        with pytest.raises(LaunchError, match="in clear") as error:
            HttpService(url, HttpSettings(token=Secret(TOKEN)))
        assert TOKEN not in f"{error.value} {error.value.hint}"
        HttpService(url, HttpSettings(token=Secret(TOKEN), allow_plain_http=True)).close()
        HttpService(url, HttpSettings()).close()

    @pytest.mark.parametrize(
        "url", ["http://localhost:1", "http://127.0.0.9:1", "http://[::1]:1", "https://a.b"]
    )
    def test_may_go_there(self, url: str) -> None:
        HttpService(url, HttpSettings(token=Secret(TOKEN))).close()

    def test_are_in_no_message(self, service: Any) -> None:
        queues, server = service(swallow, patience=0.0, token=Secret(TOKEN))
        with pytest.raises(QueueUnavailable) as error:
            queues.list_queues()
        server.acts = [problem("forbidden", 403, detail="no")]
        with pytest.raises(LaunchError) as refused:
            queues.list_queues()
        assert TOKEN not in f"{error.value!r}{refused.value!r}{vars(queues)!r}{queues._calls.transport!r}"

    @pytest.mark.parametrize("text", ["", " \n", "two words", "ü", "line\nbreak", "x" * 5000])
    def test_that_are_none_are_refused(self, tmp_path: Path, text: str) -> None:
        file = tmp_path / "token"
        file.write_text(text)
        with pytest.raises(LaunchError, match="has no token in it"):
            HttpService("http://localhost", HttpSettings(token_file=file))

    def test_are_not_replaced_by_netrc(
        self, service: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("default login me password other\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        for token in (Secret(TOKEN), None):
            queues, server = service(NO_QUEUES, token=token)
            queues.list_queues()
            assert server.requests[0].headers.get("authorization") == (token and f"Bearer {TOKEN}")

    def test_no_cookie_is_kept(self, service: Any) -> None:
        queues, server = service(answer({"queues": []}, Set_Cookie="a=b"), NO_QUEUES)
        queues.list_queues()
        queues.list_queues()
        assert "cookie" not in server.requests[1].headers


class TestTheWay:
    def test_proxies_of_the_environment_are_used(self, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        proxy = serve(NO_QUEUES)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        queues = HttpService("http://launch.example.com/base", HttpSettings())
        assert list(queues.list_queues()) == []
        assert proxy.requests[0].target == "http://launch.example.com/base/v1/queues"
        queues.close()

    def test_but_not_to_this_machine(self, service: Any, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        proxy = serve(HTML)
        monkeypatch.setenv("http_proxy", proxy.url)
        queues, _ = service(NO_QUEUES)
        assert list(queues.list_queues()) == []
        assert proxy.requests == []

    @pytest.mark.parametrize(
        "url",
        ["ftp://a", "http://", "http://a?x=1", "http://a#x", "http://a b", "http://a:99999", "https://u:p@a"],
    )
    def test_addresses_that_are_none_are_refused(self, url: str) -> None:
        with pytest.raises(LaunchError) as error:
            parse_address(url)
        assert error.value.fault is Fault.USER
        assert "u:p" not in str(error.value)

    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "\ud800"])
    def test_names_that_are_no_part_of_a_path_are_unknown(self, service: Any, name: str) -> None:
        queues, server = service(answer({"runs": []}))
        with pytest.raises(NotFound):
            queues.queue(name)
        with pytest.raises(NotFound):
            queues.run(name)
        assert all(request.target.startswith("/v1/runs?") for request in server.requests)

    def test_strange_names_stay_one_part_of_a_path(self, service: Any) -> None:
        queues, server = service(problem("not_found", 404))
        with pytest.raises(NotFound):
            queues.run("a?b#c%2F ü")
        assert server.requests[0].target == "/v1/runs/a%3Fb%23c%252F%20%C3%BC"


class TestProblems:
    @pytest.mark.parametrize(
        ("act", "kind"),
        [
            (problem("not_found", 404, detail="d", hint="h"), NotFound),
            (problem("damaged", 500, detail="d", hint="h"), QueueDamaged),
            (problem("agent_name_taken", 409, detail="d"), AgentNameTaken),
            (problem("lease_lost", 409, detail="d"), LeaseLost),
            (problem("cancelled", 409, detail="d", reason="cancelled"), Cancelled),
            (problem("unauthorized", 401, detail="d"), LaunchError),
            (problem("forbidden", 403, detail="d"), LaunchError),
            (problem("too_large", 413, detail="d"), LaunchError),
        ],
    )
    def test_are_the_exceptions_of_the_embedded_queue(self, service: Any, act: Act, kind: type) -> None:
        queues, server = service(act)
        with pytest.raises(kind) as error:
            queues.list_queues()
        assert type(error.value) is kind or kind is LaunchError
        assert str(error.value) == "d"
        assert len(server.requests) == 1

    def test_carry_everything_that_an_error_has(self, service: Any) -> None:
        about = {"detail": "d", "hint": "h", "reason": "source_failed", "fault": "infrastructure"}
        queues, _ = service(problem("config_error", 404, **about, extra={"retryable": True}))
        with pytest.raises(LaunchError) as error:
            queues.list_queues()
        found = error.value
        assert (found.detail, found.hint, found.reason) == ("d", "h", Reason.SOURCE_FAILED)
        assert (found.fault, found.retryable) == (Fault.INFRASTRUCTURE, True)

    def test_of_a_newer_service_are_understood_as_far_as_possible(self, service: Any) -> None:
        queues, _ = service(problem("moon_phase", 422, detail="d", reason="moon", fault="moon"))
        with pytest.raises(LaunchError) as error:
            queues.list_queues()
        assert (error.value.reason, error.value.fault) == (Reason.CONFIG_ERROR, Fault.USER)

    def test_cannot_break_a_terminal(self) -> None:
        assert one_line("a\x1b[2J\nb" + "x" * 1000) == ("a�[2J b" + "x" * 1000)[:300] + "…"

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            (None, None),
            ("", None),
            ("7", 7.0),
            ("1e9", None),
            ("-3", None),
            ("99999999999999999999", None),
            ("3600", 60.0),
            ("Thu, 01 Jan 1970 00:00:30 GMT", 20.0),
            ("Thu, 01 Jan 1970 00:00:05 GMT", 0.0),
            ("next week", None),
        ],
    )
    def test_say_when_to_come_again(self, text: str | None, seconds: float | None) -> None:
        assert retry_after(text, now=10.0) == seconds


class TestClaims:
    def test_an_answer_that_was_lost_is_asked_for_with_the_same_key(self, client: Any) -> None:
        agent, server = client(swallow, cut, NO_CLAIMS, NO_CLAIMS)
        assert claim(agent) == ()
        claim(agent)
        keys = [request.json["key"] for request in server.requests]
        assert keys[0] == keys[1] == keys[2] != keys[3]
        assert keys[0]

    def test_also_by_the_next_claim_when_patience_was_over(self, client: Any) -> None:
        agent, server = client(swallow, NO_CLAIMS, patience=0.0)
        with pytest.raises(QueueUnavailable):
            claim(agent)
        claim(agent)
        assert server.requests[0].json["key"] == server.requests[1].json["key"]

    def test_a_wake_hangs_up_and_asks_once_more(self, client: Any) -> None:
        """What the service may have given just then is not lost."""
        agent, server = client(silent, NO_CLAIMS)
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(claim(agent, wait=SOON)))
        thread.start()
        first = server.seen.get(timeout=SOON)
        agent.wake()
        thread.join(SOON)
        assert found == [()]
        second = server.requests[1]
        assert (first.json["wait"] > 0, second.json["wait"]) == (True, 0.0)
        assert first.json["key"] == second.json["key"]

    def test_a_wake_before_the_call_counts_for_it_once(self, client: Any) -> None:
        agent, server = client(NO_CLAIMS)
        agent.wake()
        claim(agent, wait=SOON)
        assert [request.json["wait"] for request in server.requests] == [0.0]

    def test_a_wake_ends_a_pause_between_two_tries(self, client: Any) -> None:
        agent, server = client(answer(b"", status=503, Retry_After="30"), NO_CLAIMS)
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(claim(agent, wait=SOON)))
        thread.start()
        server.seen.get(timeout=SOON)
        agent.wake()
        thread.join(20)
        assert found == [()]

    def test_one_request_waits_no_longer_than_proxies_allow(self, client: Any) -> None:
        lease = {"attempt_id": "r-1", "token": "t", "expires_at": 0}
        spec = {"source": {"type": "image", "fields": {}}}
        given = {"lease": lease, "run_id": "r", "attempt": 1, "queue": "q", "queue_config": {"type": "p"}}
        given |= {"spec": spec, "state": "claimed", "submitted_at": 0, "claimed_at": 0}
        agent, server = client(NO_CLAIMS, answer({"claims": [given]}))
        assert [each.attempt_id for each in claim(agent, wait=600.0)] == ["r-1"]
        assert [request.json["wait"] <= 55.0 for request in server.requests] == [True, True]


class TestWrites:
    def test_of_many_threads_go_together(self, client: Any) -> None:
        """The first is on its way; the others are sent in one request when it is answered."""
        go = threading.Event()

        def first(line: Any) -> bool:
            go.wait(SOON)
            return answer({"results": [None]})(line)

        lost = {"type": "urn:launchcore:problem:lease_lost", "title": "", "status": 409, "detail": "gone"}
        behind: dict[str, Any] = {"type": "urn:launchcore:problem:log_behind", "title": "", "status": 409}
        behind["extra"] = {"offset": 7, "cursor": "c"}
        foreign = {"type": "urn:launchcore:problem:forbidden", "title": "", "status": 403}
        rest: list[Any] = [None] * 20
        rest[3], rest[5], rest[7] = lost, behind, foreign
        agent, server = client(first, answer({"results": rest}))
        errors: dict[str, Exception] = {}

        def write(number: int) -> None:
            try:
                agent.write(Lease(attempt_id=f"r-{number}", token="t", expires_at=0.0), Update())
            except Exception as error:
                errors[f"r-{number}"] = error

        threads = [threading.Thread(target=write, args=(0,))]
        threads[0].start()
        server.seen.get(timeout=SOON)
        for number in range(1, 21):
            threads.append(threading.Thread(target=write, args=(number,)))
            threads[-1].start()
            until(partial(_waits, agent, number))
        go.set()
        for thread in threads:
            thread.join(SOON)

        sent = [
            [each["lease"]["attempt_id"] for each in request.json["writes"]] for request in server.requests
        ]
        assert sent == [["r-0"], [f"r-{number}" for number in range(1, 21)]]
        assert {name: type(error) for name, error in errors.items()} == {
            "r-4": LeaseLost,
            "r-6": LogBehind,
            "r-8": LeaseLost,
        }
        found = errors["r-6"]
        assert isinstance(found, LogBehind)
        assert found.position == LogPosition(offset=7, cursor="c")

    def test_that_fail_together_fail_each_by_itself(self, client: Any) -> None:
        agent, _ = client(swallow, patience=0.0)
        with pytest.raises(QueueUnavailable):
            agent.write(LEASE, Update())

    def test_answered_by_too_few_results_are_not_taken_as_stored(self, client: Any) -> None:
        agent, _ = client(answer({"results": []}))
        with pytest.raises(QueueUnavailable, match="1 writes were answered by 0 results"):
            agent.write(LEASE, Update())

    def test_of_large_logs_do_not_hold_up_the_others(self, client: Any) -> None:
        go = threading.Event()

        def slow(line: Any) -> bool:
            go.wait(SOON)
            return answer({"results": [None]})(line)

        agent, server = client(slow, answer({"results": [None]}))
        log = LogAppend(offset=0, data=b"x" * 100_000, cursor=None)
        bulk = threading.Thread(target=lambda: agent.write(LEASE, Update(log=log)))
        bulk.start()
        server.seen.get(timeout=SOON)
        agent.write(LEASE, Update())
        go.set()
        bulk.join(SOON)
        assert not bulk.is_alive()

    def test_do_not_wait_for_a_service_that_others_have_found_away(self, client: Any) -> None:
        """One thread follows many runs: it must not spend its time with a door that is closed."""
        agent, server = client(swallow, patience=0.0)
        with pytest.raises(QueueUnavailable):
            agent.write(LEASE, Update())
        with pytest.raises(QueueUnavailable):
            agent.write(LEASE, Update())
        assert len(server.requests) == 1
        server.acts = [answer({"lost": []}), answer({"results": [None]})]
        agent.renew(AGENT, [], lease_seconds=30)
        agent.write(LEASE, Update())


class TestArchives:
    DATA = b"an archive" * 1000
    DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"

    def test_are_sent_as_they_are_and_again_when_that_fails(self, service: Any) -> None:
        queues, server = service(answer(b"", status=404), swallow, answer({"digest": self.DIGEST}))
        assert queues.put_archive([self.DATA[:7], self.DATA[7:]]) == self.DIGEST
        assert [request.body for request in server.requests[1:]] == [self.DATA, self.DATA]

    def test_that_are_there_are_not_sent(self, service: Any) -> None:
        queues, server = service(answer(b""))
        assert queues.put_archive([self.DATA]) == self.DIGEST
        assert [request.method for request in server.requests] == ["HEAD"]

    @pytest.mark.parametrize("trouble", [cut, cut_head])
    def test_are_fetched_whole(self, client: Any, trouble: Any) -> None:
        agent, server = client(trouble, answer(self.DATA, kind="application/octet-stream"))
        with agent.open_archive(self.DIGEST) as file:
            assert file.read() == self.DATA
        assert len(server.requests) == 2

    def test_that_are_others_are_not_given_on(self, client: Any) -> None:
        agent, _ = client(answer(b"something else"))
        with pytest.raises(QueueUnavailable, match="came as"):
            agent.open_archive(self.DIGEST)

    def test_that_are_not_there_are_the_runs_fault(self, client: Any) -> None:
        agent, server = client(problem("config_error", 404, detail="no such archive", reason="source_failed"))
        for digest in (self.DIGEST, "sha256:../../etc/passwd", ""):
            with pytest.raises(LaunchError) as error:
                agent.open_archive(digest)
            assert error.value.reason is Reason.SOURCE_FAILED
        assert len(server.requests) == 1


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a certificate of ours, and one of an authority that nobody knows."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("server", "stranger"):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        command += [
            "-nodes",
            "-days",
            "2",
            "-subj",
            f"/CN={name}",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ]
        command += ["-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


class TestTls:
    def context(self, made: Path, *, clients: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made / "server.pem", made / "server.key")
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(made / "stranger.pem")
        return context

    def test_an_authority_of_our_own(self, made: Path, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """It comes before that of the environment, which is for everything else."""
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made / "stranger.pem"))
        server = serve(NO_QUEUES, tls=self.context(made))
        queues = HttpService(server.url, HttpSettings(ca_file=made / "server.pem", token=Secret(TOKEN)))
        assert list(queues.list_queues()) == []
        queues.close()

    def test_the_environments(self, made: Path, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made / "server.pem"))
        server = serve(NO_QUEUES, tls=self.context(made))
        queues = HttpService(server.url, HttpSettings())
        assert list(queues.list_queues()) == []
        queues.close()

    def test_a_certificate_that_nobody_vouches_for_gets_no_token(self, made: Path, serve: Any) -> None:
        server = serve(NO_QUEUES, tls=self.context(made))
        queues = HttpService(server.url, HttpSettings(ca_file=made / "stranger.pem", token=Secret(TOKEN)))
        with pytest.raises(LaunchError, match="is not trusted") as error:
            queues.list_queues()
        assert "ca_file" in str(error.value.hint)
        assert server.requests == []
        queues.close()

    def test_our_certificate(self, made: Path, serve: Any) -> None:
        server = serve(NO_QUEUES, tls=self.context(made, clients=True))
        settings = HttpSettings(
            ca_file=made / "server.pem",
            client_certificate=made / "stranger.pem",
            client_key=made / "stranger.key",
        )
        queues = HttpService(server.url, settings)
        assert list(queues.list_queues()) == []
        queues.close()

    def test_a_call_that_waits_is_woken_there_too(self, made: Path, serve: Any) -> None:
        server = serve(silent, NO_CLAIMS, tls=self.context(made))
        agent = HttpClient(server.url, HttpSettings(ca_file=made / "server.pem"))
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(claim(agent, wait=SOON)))
        thread.start()
        server.seen.get(timeout=SOON)
        agent.wake()
        thread.join(SOON)
        assert found == [()]
        agent.close()

    @pytest.mark.parametrize("key", ["ca_file", "client_certificate"])
    def test_files_that_are_not_there(self, key: str, tmp_path: Path) -> None:
        with pytest.raises(LaunchError, match=f"{key}: .* is not a file"):
            HttpService("https://a.example", HttpSettings(**{key: tmp_path / "none"}))  # type: ignore[arg-type]


class TestClose:
    def test_ends_what_waits(self, service: Any) -> None:
        queues, server = service(silent)
        errors: list[Exception] = []

        def wait() -> None:
            try:
                queues.wait("r", 0, timeout=SOON)
            except QueueUnavailable as error:
                errors.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        server.seen.get(timeout=SOON)
        queues.close()
        thread.join(SOON)
        assert len(errors) == 1

    def test_is_final(self, service: Any) -> None:
        queues, _ = service(NO_QUEUES)
        queues.close()
        queues.close()
        with pytest.raises(QueueUnavailable, match="closed"):
            queues.list_queues()


def _waits(agent: HttpClient, count: int) -> bool:
    return len(agent._short._waiting) == count


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
