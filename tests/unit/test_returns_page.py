"""One-click unsubscribing: the signed link, what it answers, and who gets it."""

import asyncio
import http.client
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postroad.events import own
from postroad.events.syslog import format_datagram, parse_datagram
from postroad.returns import page
from postroad.returns.web import Web, Wishes
from postroad.runtime import returning, unsubscribing
from postroad.runtime.unsubscribing import TokenError, Wish, read, token
from postroad.signer.returned import ReturnAddresses

KEY = b"k" * 32
WISH = Wish("u@y.example", "news.x.example")
LINK = f"/unsubscribe/{token(KEY, WISH)}"
FORM = b"List-Unsubscribe=One-Click"


@given(st.text(max_size=64), st.from_regex(r"[a-z0-9.-]{1,60}", fullmatch=True))
def test_a_link_says_what_it_was_made_of(recipient: str, domain: str) -> None:
    text = token(KEY, Wish(recipient, domain))
    assert text.replace("-", "").replace("_", "").isalnum()
    assert read(KEY, text) == Wish(recipient, domain)


@given(st.one_of(st.text(max_size=80), st.binary(max_size=60).map(bytes.hex)))
@example(token(b"x" * 32, WISH))
@example(token(KEY, WISH)[:-1])
@example("A" + token(KEY, WISH)[1:])
@example(token(KEY, WISH) + "=")
def test_any_other_link_is_none(text: str) -> None:
    with pytest.raises(TokenError):
        read(KEY, text)


def asked(method: str, path: str = LINK, body: bytes = FORM, *, takes: bool = True) -> tuple[str, list[Wish]]:
    """The answer, and the wishes that were told."""
    told: list[Wish] = []

    def act(wish: Wish) -> bool:
        told.append(wish)
        return takes

    request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    assert page.is_whole(request)
    return page.Request(request, "/unsubscribe/", KEY, act).answer.decode(), told


MULTIPART = b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n'


@pytest.mark.parametrize("body", [FORM, MULTIPART])
def test_post_unsubscribes(body: bytes) -> None:
    answer, told = asked("POST", body=body)
    assert answer.startswith("HTTP/1.0 200")
    assert told == [WISH]
    assert "No more mail from news.x.example goes to u@y.example." in answer


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_looking_at_a_link_unsubscribes_nobody(method: str) -> None:
    answer, told = asked(method, body=b"")
    assert told == []
    assert answer.startswith("HTTP/1.0 200")
    assert ('<form method="post">' in answer) is (method == "GET")
    assert "Content-Security-Policy: default-src 'none'" in answer


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", LINK, b"", 400),
        ("POST", LINK[:-1], FORM, 404),
        ("POST", LINK + "x", FORM, 404),
        ("POST", LINK.removeprefix("/unsubscribe"), FORM, 404),
        ("POST", "/other" + LINK, FORM, 404),
        ("GET", "/", b"", 404),
        ("PUT", LINK, FORM, 501),
        ("POST", "/unsubscribe/" + token(b"x" * 32, WISH), FORM, 404),
    ],
)
def test_what_else_is_asked(method: str, path: str, body: bytes, code: int) -> None:
    answer, told = asked(method, path, body)
    assert answer.split()[1] == str(code)
    assert told == []


def test_a_log_that_is_full_is_no_yes() -> None:
    answer, _ = asked("POST", takes=False)
    assert answer.startswith("HTTP/1.0 503")


def test_an_address_is_no_markup() -> None:
    wish = Wish('"<script>"@y.example', "x.example")
    answer, _ = asked("GET", f"/unsubscribe/{token(KEY, wish)}", b"")
    assert "<script>" not in answer
    assert "&lt;script&gt;" in answer


@given(st.binary(max_size=400))
@example(b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n")
@example(b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n")
@example(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
@example(b"GET " + b"/" * 400)
def test_any_octets_are_answered_and_tell_nothing(request: bytes) -> None:
    page.is_whole(request)
    told: list[Wish] = []

    def act(wish: Wish) -> bool:
        told.append(wish)
        return True

    page.Request(request, "/unsubscribe", KEY, act)
    assert told == []


class TestWeb:
    """The connections."""

    @pytest.fixture
    def port(self) -> Iterator[int]:
        self.said: list[str] = []
        loop = asyncio.new_event_loop()

        def tell(_: str, line: str) -> bool:
            self.said.append(line)
            return True

        web = Web(lambda: "/unsubscribe", lambda: KEY, Wishes(tell))
        server = loop.run_until_complete(asyncio.start_server(web.serve, "127.0.0.1", 0))
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        yield server.sockets[0].getsockname()[1]

        async def end() -> None:
            server.close()
            await asyncio.sleep(0)
            loop.stop()

        asyncio.run_coroutine_threadsafe(end(), loop)
        thread.join(10)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    def test_a_wish_is_told_once_however_often_it_is_made(self, port: int) -> None:
        for _ in range(3):
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            client.request("POST", LINK, FORM)
            answer = client.getresponse()
            assert answer.status == 200
            assert b"u@y.example" in answer.read()
            client.close()
        (line,) = self.said
        event = own.read(parse_datagram(format_datagram("info", line), 0.0)).to_dict()
        assert (event["event"], event["recipient"], event["sender_domain"]) == ("unsubscribed", *vars(WISH).values())

    def test_one_who_says_nothing_holds_nobody_up(self, port: int) -> None:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as silent,
            socket.create_connection(("127.0.0.1", port)) as half,
        ):
            half.sendall(b"POST ")
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            client.request("GET", LINK)
            assert client.getresponse().status == 200
            client.close()
            silent.shutdown(socket.SHUT_WR)
            assert silent.recv(10) == b""


class TestWhoGetsALink:
    """The signer's side."""

    def fields(
        self, sender: str = "app@news.x.example", recipients: Any = ("u@y.example",), names: Any = (), **link: Any
    ) -> Any:
        given = returning.Unsubscribing(("news.x.example",), "https://b.x.example/unsubscribe", "127.0.0.1", 8026)
        settings = returning.Settings("mail.x.example", "b.x.example", (), replace(given, **link))
        return ReturnAddresses(settings, KEY).unsubscribe_fields(sender, list(recipients), set(names))

    def test_a_message_to_one(self) -> None:
        first, second = self.fields()
        assert second == (b"List-Unsubscribe-Post", b" List-Unsubscribe=One-Click")
        assert first[0] == b"List-Unsubscribe"
        url = first[1].decode().strip(" <>")
        assert url.startswith("https://b.x.example/unsubscribe/")
        assert read(KEY, url.rpartition("/")[2]) == WISH

    @pytest.mark.parametrize(
        "other",
        [
            {"recipients": ["u@y.example", "v@y.example"]},
            {"recipients": []},
            {"recipients": [""]},
            {"sender": "app@x.example"},
            {"sender": ""},
            {"names": [b"list-unsubscribe"]},
            {"recipients": ["u" * 800 + "@y.example"]},
        ],
    )
    def test_others_have_none(self, other: dict[str, Any]) -> None:
        assert self.fields(**other) == ()

    def test_without_the_key_nobody_has_one(self) -> None:
        settings = returning.Settings("mail.x.example", "b.x.example", ())
        assert ReturnAddresses(settings, KEY).unsubscribe_fields("a@news.x.example", ["u@y.example"], set()) == ()

    def test_a_link_fits_into_a_line(self) -> None:
        (first, _) = self.fields(recipients=["u" * 64 + "@" + "y" * 250 + ".example"])
        assert len(first[0]) + len(first[1]) + 2 < 998
        assert len(first[1]) <= unsubscribing.LONGEST + 3
