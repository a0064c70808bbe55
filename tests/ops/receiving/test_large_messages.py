"""Messages about many findings with long texts: nothing is left out without a word, and the container's memory suffices."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.ops.receiving.conftest import Notifier, Receiver, Sink, finding, wait_until

LINK = "https://nvd.nist.gov/vuln/detail/CVE-{}"
# `mem_limit` of the receiver in the compose file.
MEMORY_KIB = 128 * 1024


class Picky(Sink):
    """Refuses the messages whose Idempotency-Key ends in `fails`."""

    fails = "-2"

    def answer(self, request: Any, body: bytes) -> None:
        refused = self.fails and request.headers["Idempotency-Key"].endswith(self.fails)
        self.status = 413 if refused else 200
        super().answer(request, body)


def test_twenty_thousand_findings_with_long_links_fit_into_the_memory(
    idle: Receiver, notifier: Notifier, sink: Sink
) -> None:
    for name in ("a", "b", "c"):
        idle.target(name, "webhook", sink.url)
    idle.start()
    assert idle.process
    findings = [finding(f"CVE-{number}") for number in range(20_000)]
    for number, one in enumerate(findings):
        one["vulnerability"]["links"] = " ".join(LINK.format(number * 100 + more) for more in range(15))
    identity = notifier.add(*findings)

    idle.notify(identity)
    wait_until(lambda: sum(entry["message"] == "message delivered" for entry in idle.log) == 3, 120)

    status = Path(f"/proc/{idle.process.pid}/status").read_text()
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    assert int(peak) < MEMORY_KIB
    assert len(sink.got) == 30
    assert len({one["vulnerability"] for got in sink.got for one in got.document["findings"]}) == 20_000


def test_links_that_do_not_fit_are_counted(idle: Receiver, notifier: Notifier, sink: Sink) -> None:
    idle.target("hook", "webhook", sink.url)
    idle.start()
    one = finding()
    links = [LINK.format(1000 + number) for number in range(30)]
    one["vulnerability"]["links"] = " ".join(links)

    idle.notify(notifier.add(one))
    wait_until(lambda: sink.got)

    (said,) = sink.got[0].document["findings"]
    kept = said["links"].split()
    assert (kept, said["links_omitted"]) == (links[: len(kept)], 30 - len(kept))
    assert 900 < len(said["links"]) <= 1000
    assert (sink.got[0].document["part"], sink.got[0].document["parts"]) == (1, 1)


def test_part_that_was_refused_is_named_and_all_are_sent_again(idle: Receiver, notifier: Notifier) -> None:
    sink = Picky()
    idle.target("hook", "webhook", sink.url)
    idle.start()
    identity = notifier.add(*(finding(f"CVE-{number}") for number in range(2001)))
    idle.notify(identity)
    wait_until(lambda: idle.one(identity)["deliveries"] and idle.one(identity)["deliveries"][0]["error"])
    assert idle.one(identity)["deliveries"][0]["error"] == "part 2: HTTP 413"
    sink.fails = ""

    wait_until(lambda: idle.one(identity)["state"] == "delivered")

    assert [len(got.document["findings"]) for got in sink.got[-2:]] == [2000, 1]
    sink.close()
