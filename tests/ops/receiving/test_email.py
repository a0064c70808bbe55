"""E-mail over real SMTP: STARTTLS, login, partial refusals, the same Message-ID at every try."""

from __future__ import annotations

import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from ops.receiving.read_settings import Target
from ops.receiving.send_message import NotSent, send_email, served_recipients

from tests.ops.receiving.conftest import DIGEST, Notifier, Receiver, finding, wait_until


class Mailbox:
    """Keeps what it gets; `refuse` names recipients it does not take, `fail` answers everything with 451."""

    def __init__(self) -> None:
        self.got: list[tuple[list[str], Any]] = []
        self.refuse: set[str] = set()
        self.fail = False

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refuse:
            return "450 later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.got.append((list(envelope.rcpt_tos), message_from_bytes(envelope.content)))
        return "451 later" if self.fail else "250 OK"


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[tuple[Mailbox, int]]:
    """A mail server with STARTTLS and a login, whose authority is the operator's own."""
    key, certificate = tmp_path / "mail.key", tmp_path / "ca.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate, *names], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    box = Mailbox()

    def login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"clair", b"pass word"), handled=False)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port, authenticator=login)
    controller.SMTP_kwargs |= {"tls_context": context}
    controller.start()
    yield box, port
    controller.stop()


def mail_target(receiver: Receiver, port: int, **more: Any) -> None:
    (receiver.folder / "secrets/mail").write_text("pass word\n")
    receiver.target("mail", "email", host="localhost", port=port, sender="clair@example.com", username="clair",
                    password_file="mail", **{"recipients": ["a@example.com", "b@example.com"], **more})  # fmt: skip


def test_a_message_with_starttls_and_login(idle: Receiver, notifier: Notifier, mailbox: tuple[Mailbox, int]) -> None:
    box, port = mailbox
    mail_target(idle, port)
    idle.start()
    identity = notifier.add(finding(), finding("CVE-2", "Critical", fixed_in=""))

    idle.notify(identity)
    wait_until(lambda: idle.one(identity)["state"] == "delivered")

    ((recipients, message),) = box.got
    assert recipients == ["a@example.com", "b@example.com"]
    subject = str(message["Subject"]).replace("\r\n", "").replace("\n", "")
    assert subject == f"Clair: 1 Critical, 1 High in {DIGEST}"
    assert message["Message-ID"].strip() == f"<{idle.one(identity)['deliveries'][0]['id']}@example.com>"
    assert abs((datetime.now(UTC) - parsedate_to_datetime(message["Date"])).total_seconds()) < 60
    assert "Critical: CVE-2, openssl, no fix yet" in message.get_payload(decode=True).decode()


def test_recipients_that_were_refused_are_tried_again_and_no_others(
    idle: Receiver, notifier: Notifier, mailbox: tuple[Mailbox, int]
) -> None:
    box, port = mailbox
    box.refuse = {"b@example.com"}
    mail_target(idle, port)
    idle.start()
    identity = notifier.add(finding())
    idle.notify(identity)
    wait_until(lambda: idle.one(identity)["deliveries"] and idle.one(identity)["deliveries"][0]["tries"] >= 1)
    box.refuse = set()

    wait_until(lambda: idle.one(identity)["state"] == "delivered")

    assert [recipients for recipients, _ in box.got] == [["a@example.com"], ["b@example.com"]]
    assert len({message["Message-ID"] for _, message in box.got}) == 1


def test_recipient_that_was_mistyped_gets_it_when_it_is_corrected(
    idle: Receiver, notifier: Notifier, mailbox: tuple[Mailbox, int]
) -> None:
    box, port = mailbox
    box.refuse = {"opsx@example.com"}
    mail_target(idle, port, recipients=["boss@example.com", "opsx@example.com"])
    idle.start()
    identity = notifier.add(finding())
    idle.notify(identity)
    wait_until(lambda: idle.one(identity)["deliveries"] and idle.one(identity)["deliveries"][0]["tries"] >= 1)
    idle.kill()
    settings = idle.folder / "settings.toml"
    settings.write_text(settings.read_text().replace("opsx@", "ops@"))

    idle.start()
    wait_until(lambda: idle.one(identity)["state"] == "delivered")

    assert [recipients for recipients, _ in box.got] == [["boss@example.com"], ["ops@example.com"]]


@pytest.mark.parametrize(
    ("stored", "waiting"),
    [
        ("", ["boss@example.com", "ops@example.com"]),
        ('["ops@example.com"]', ["ops@example.com"]),
        ('["opsx@example.com"]', ["boss@example.com", "ops@example.com"]),
        ('{"boss@example.com": true, "opsx@example.com": false}', ["ops@example.com"]),
    ],
    ids=["nothing", "a list of an earlier receiver", "such a list, corrected", "who has got it"],
)
def test_store_of_an_earlier_receiver_loses_nobody(stored: str, waiting: list[str]) -> None:
    target = Target("mail", "email", recipients=("boss@example.com", "ops@example.com"))

    served = served_recipients(target, stored)

    assert [one for one in target.recipients if not served.get(one)] == waiting


def test_a_server_that_is_busy_gets_the_same_message_again(
    idle: Receiver, notifier: Notifier, mailbox: tuple[Mailbox, int]
) -> None:
    box, port = mailbox
    box.fail = True
    mail_target(idle, port)
    idle.start()
    idle.notify(notifier.add(finding()))
    wait_until(lambda: len(box.got) == 2)
    box.fail = False

    wait_until(lambda: not any("pass word" in str(entry) for entry in idle.log) and len(box.got) == 3)

    assert len({message["Message-ID"] for _, message in box.got}) == 1


def test_a_certificate_nobody_trusts_gets_no_password(
    idle: Receiver, notifier: Notifier, mailbox: tuple[Mailbox, int]
) -> None:
    box, port = mailbox
    mail_target(idle, port)
    idle.extra["RECEIVER_CA"] = str(idle.folder / "none.pem")
    idle.start()
    identity = notifier.add(finding())
    idle.notify(identity)

    wait_until(lambda: "TLS: CERTIFICATE_VERIFY_FAILED" in str(idle.one(identity)["deliveries"]))

    assert box.got == []


class Script:
    """A mail server that does as it is told: the codes of recipients, the answer to QUIT, a greeting that never ends."""

    def __init__(
        self, codes: dict[str, int] | None = None, goodbye: bytes = b"221 bye\r\n", drips: bool = False
    ) -> None:
        self.got: list[tuple[list[str], Any]] = []
        self.codes, self.goodbye, self.drips = codes or {}, goodbye, drips
        script = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                script.serve(self.rfile, self.wfile)

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def serve(self, lines: Any, out: Any) -> None:
        while self.drips:
            try:
                out.write(b"2")
            except OSError:
                return
            time.sleep(0.1)
        out.write(b"220 ready\r\n")
        recipients: list[str] = []
        for line in lines:
            word = line[:4].upper()
            if word == b"RCPT":
                address = line.partition(b"<")[2].partition(b">")[0].decode()
                code = self.codes.get(address, 250)
                recipients += [address] if code == 250 else []
                out.write(b"%d said\r\n" % code)
            elif word == b"DATA":
                out.write(b"354 go on\r\n")
                content = b"".join(iter(lines.readline, b".\r\n"))
                self.got.append((list(recipients), message_from_bytes(content)))
                out.write(b"250 taken\r\n")
            elif word == b"QUIT":
                out.write(self.goodbye)
                return
            else:
                out.write(b"250 fine\r\n")


@pytest.fixture
def script() -> Iterator[Callable[..., Script]]:
    """Starts mail servers without TLS."""
    made: list[Script] = []

    def start(*arguments: Any, **more: Any) -> Script:
        made.append(Script(*arguments, **more))
        return made[-1]

    yield start
    for one in made:
        one.server.shutdown()
        one.server.server_close()


def sent(port: int, *recipients: str, **more: Any) -> None:
    """Send a mail as the receiver does."""
    target = Target("mail", "email", host="127.0.0.1", port=port, sender="clair@example.com",
                    recipients=recipients, **{"starttls": False, **more})  # fmt: skip
    message = EmailMessage()
    message.set_content("text\n")
    send_email(target, message, recipients, ssl.create_default_context())


@pytest.mark.parametrize("goodbye", [b"421 closing\r\n", b"", b"nonsense\r\n"])
def test_message_that_the_server_took_is_sent_though_it_says_no_goodbye(
    script: Callable[..., Script], goodbye: bytes
) -> None:
    server = script(goodbye=goodbye)

    sent(server.port, "a@example.com")

    assert [recipients for recipients, _ in server.got] == [["a@example.com"]]


def test_refused_recipients_are_known_though_the_server_says_no_goodbye(script: Callable[..., Script]) -> None:
    server = script({"b@example.com": 550}, goodbye=b"421 closing\r\n")

    with pytest.raises(NotSent, match=r"^1 of 2 recipients were refused: 550$") as failed:
        sent(server.port, "a@example.com", "b@example.com")

    assert failed.value.got == ["a@example.com"]


def test_recipient_for_whom_the_server_hangs_up_keeps_it_from_no_other(script: Callable[..., Script]) -> None:
    server = script({"b@example.com": 421})

    with pytest.raises(NotSent, match=r"^1 of 3 recipients were refused: 421$") as failed:
        sent(server.port, "a@example.com", "b@example.com", "c@example.com")

    assert failed.value.got == ["a@example.com", "c@example.com"]
    assert [recipients for recipients, _ in server.got] == [["a@example.com", "c@example.com"]]


def test_that_every_recipient_was_refused_is_said_only_then(script: Callable[..., Script]) -> None:
    server = script({"a@example.com": 550, "b@example.com": 450})

    with pytest.raises(NotSent, match=r"^every recipient was refused: 450, 550$") as failed:
        sent(server.port, "a@example.com", "b@example.com")

    assert list(failed.value.got) == []


def test_greeting_that_never_ends_is_cut_off(script: Callable[..., Script]) -> None:
    server = script(drips=True)
    before = time.monotonic()

    with pytest.raises(NotSent, match="no answer in time"):
        sent(server.port, "a@example.com", timeout=1)

    assert time.monotonic() - before < 3


@pytest.mark.parametrize(
    ("recipient", "more", "reason"),
    [
        ("a@example.com", {"starttls": True}, "the mail server offers no STARTTLS at this port; 587 is the usual one"),
        ("a@example.com", {"username": "clair"}, "the mail server offers no login at this port; 587 is the usual one"),
        ("jörg@example.com", {}, "the mail server takes no address with characters beyond ASCII"),
    ],
)
def test_what_the_server_does_not_offer_is_said_in_words(
    script: Callable[..., Script], recipient: str, more: dict[str, Any], reason: str
) -> None:
    server = script()

    with pytest.raises(NotSent) as failed:
        sent(server.port, recipient, **more)

    assert (str(failed.value), server.got) == (reason, [])
