"""A local Docker for tests of `scan-local`, in place of ops.engine's two calls."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ops.host.explain_failure import explain

from .servers import Registry

IMAGE_ID = "sha256:" + "ab" * 32


def _one_image() -> dict[str, dict[str, Any]]:
    return {"myapp:1": {"Id": IMAGE_ID, "Os": "linux", "Architecture": "amd64"}}


@dataclass
class FakeEngine:
    """A local Docker that has myapp:1 for linux/amd64; the containers it starts turn out to be the fake registry."""

    registry: Registry
    images: dict[str, dict[str, Any]] = field(default_factory=_one_image)
    containers: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    calls: list[list[str]] = field(default_factory=list)
    failing: dict[str, str] = field(default_factory=dict)
    index: dict[str, str] = field(default_factory=dict)

    def docker(self, args: Sequence[str], *_: Any, check: bool = True, **__: Any) -> subprocess.CompletedProcess[str]:
        return self._answer(["docker", *args], check)

    def compose(self, _: Any, args: Sequence[str], *__: Any, check: bool = True, **___: Any) -> Any:
        return self._answer(["compose", *args], check)

    def _answer(self, call: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        self.calls.append(call)
        line = " ".join(call)
        for start, message in self.failing.items():
            if line.startswith(start):
                if message == "interrupt":
                    raise KeyboardInterrupt
                if check:
                    raise explain(start, message)
                return subprocess.CompletedProcess(call, 1, "", message)
        code, out, err = self._run(call)
        if code and check:
            raise explain(" ".join(call[:2]), err)
        return subprocess.CompletedProcess(call, code, out, err)

    def _run(self, call: list[str]) -> tuple[int, str, str]:
        address = f"127.0.0.1:{self.registry.port}"
        match call:
            case ["docker", "image", "inspect", *_]:
                found = self.images.get(call[-1])
                return (0, json.dumps(found), "") if found else (1, "", f"Error: No such image: {call[-1]}")
            case ["docker", "image", "ls", "--format", _]:
                return 0, "".join(f"{name}\n" for name in self.images), ""
            case ["docker", "image", "ls", "--filter", reference, *_]:
                wanted = reference.rpartition("/")[2]
                return 0, "".join(f"{tag}\n" for tag in self.tags if tag.endswith(f"/{wanted}")), ""
            case ["docker", "image", "tag", image, tag]:
                self.tags[tag] = image
            case ["docker", "image", "push", "--quiet", tag]:
                path, name = tag.partition("/")[2].split(":")
                fields = next(one for one in self.images.values() if one["Id"] == self.tags[tag])
                self.registry.push(path, name, fields["Architecture"])
            case ["docker", "image", "rm", *tags]:
                for tag in tags:
                    del self.tags[tag]
            case ["docker", "port", _, _]:
                return 0, f"{address}\n", ""
            case ["docker", "ps", "--all", "--filter", name, *_]:
                pattern = name.partition("=")[2]
                return 0, "".join(f"{one}\n" for one in self.containers if re.search(pattern, one)), ""
            case ["docker", "rm", "--force", "--volumes", *names]:
                for name in names:
                    del self.containers[name]
            case [
                "compose",
                "run",
                "--detach",
                "--no-deps",
                "--publish",
                "127.0.0.1::5000",
                "--name",
                name,
                "registry",
            ]:
                self.containers[name] = address
            case _:
                raise AssertionError(f"not expected: {call}")
        return 0, "", ""
