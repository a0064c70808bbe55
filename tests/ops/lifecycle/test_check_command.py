"""`./clair check`: every finding in one line with what mends it, and nothing that is fine is one."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from tempfile import gettempdir

import pytest
from ops.checks.check_certificates import name_matches, tls_findings
from ops.checks.check_files import conflict_line, psk_problem
from ops.checks.check_host import GIB, Held, bind_problem, parse_ports, size_findings
from ops.state.track_change import begin_change

from tests.ops.lifecycle.conftest import Clair
from tests.ops.lifecycle.fake_docker import PORTS

DAY = 86400


@pytest.fixture
def ready(clair: Clair) -> Clair:
    """A project with its secrets, on a fitting host."""
    clair("secrets")
    return clair


def findings(clair: Clair, *flags: str) -> list[tuple[str, str]]:
    """Return sentence and hint of each finding, and check that code and levels agree."""
    result = clair("check", "--json", *flags)
    report = json.loads(result.out)
    stopping = [finding for finding in report["findings"] if finding["level"] == "failure"]
    assert result.err == ""
    assert (result.code, report["ok"]) == ((1, False) if stopping else (0, True))
    return [(finding["sentence"], finding["hint"]) for finding in report["findings"]]


def test_a_fresh_project_passes(ready: Clair) -> None:
    result = ready("check")

    names = "change, update, configs, secrets, certificates, database, receiver, docker, compose, ports, images"
    assert (result.code, result.out, result.err) == (0, f"check passed: {names}\n", "")


def test_offline_asks_no_docker(ready: Clair) -> None:
    result = ready("check", "--offline")

    assert (result.code, result.out) == (
        0,
        "check passed: change, update, configs, secrets, certificates, database, receiver\n",
    )
    assert ready.docker.calls() == []


def test_an_unfinished_change_is_named_first(ready: Clair) -> None:
    change = begin_change(ready.deployment, "restore", "swap", backup="backups/x", databases=["indexer"], clair=True)
    ready.docker.info(NCPU=1)

    found = findings(ready)

    sentence = f"change not finished, restore of {change.started_at}: it stands at step swap"
    assert found[0] == (sentence, "./clair restore")
    assert len(found) == 2


def test_all_findings_are_printed_with_their_hints(ready: Clair) -> None:
    (ready.folder / "secrets/psk").unlink()
    ready.write("config/indexer/config.yaml.d/own.yml", "")

    result = ready("check", OFFLINE="1")

    where = "config/indexer/config.yaml.d/own.yml"
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        f"drop-in not read, {where}: Clair reads only names that end in .yaml or .yaml-patch\n"
        f"HINT: mv {where} config/indexer/config.yaml.d/own.yaml\n"
        "secret missing, secrets/psk: no such file\n"
        "HINT: make secrets\n"
    )


@pytest.mark.parametrize(
    ("name", "text", "sentence", "hint"),
    [
        (
            "own.yaml",
            "matcher: {periodd: 6h}\n",
            "config key unknown, matcher.periodd in {where}: Clair 4.9.0 stops at it",
            "did you mean matcher.period",
        ),
        (
            "own.yaml",
            "matcher: &x {}\n",
            'config unreadable, {where}:1: "&x {{}}" is not read (anchor, tag, block text, ...)',
            "write the file as JSON, which is YAML too, or the value in double quotes",
        ),
        (
            "own.yaml",
            "matcher: {indexer_addr: 'indexer:6060'}\n",
            "config value wrong, matcher.indexer_addr in config/matcher: 'indexer:6060' has no scheme",
            "write http://indexer:6060",
        ),
        (
            "own.yaml",
            "auth: {psk: {key: c2VjcmV0}}\n",
            "secret in git, {where}: auth.psk.key",
            "remove it: make up adds the key of secrets/psk",
        ),
        (
            "own.yaml-patch",
            '[{"op": "add", "path": "/matcher/perid", "value": "6h"}]',
            "config key unknown, matcher.perid in {where}: Clair 4.9.0 stops at it",
            "did you mean matcher.period",
        ),
        (
            "own.yaml-patch",
            '[{"op": "test", "path": "/log_level", "value": "debug"}]',
            "patch refused, {where}: operation 1: test of /log_level fails",
            "mv {where} {where}.off",
        ),
        (
            "zz-psk.yaml",
            "{}",
            "drop-in not read, {where}: this name belongs to the deployment's own key",
            "mv {where} config/matcher/config.yaml.d/50-own.yaml",
        ),
    ],
    ids=["unknown key", "unreadable", "address", "key in git", "patched key", "patch test", "our name"],
)
def test_a_drop_in_is_checked_before_clair_sees_it(
    ready: Clair, name: str, text: str, sentence: str, hint: str
) -> None:
    where = f"config/matcher/config.yaml.d/{name}"
    ready.write(where, text)

    assert findings(ready) == [(sentence.format(where=where), hint.format(where=where))]


def test_a_config_that_is_no_text_is_a_finding(ready: Clair) -> None:
    where = "config/matcher/config.yaml.d/own.yaml"
    ready.write(where, "")
    (ready.folder / where).write_bytes(b"a: \xff\xfe")

    assert findings(ready) == [(f"config unreadable, {where}: not UTF-8 text", f"file {where}")]


def test_a_missing_config_is_a_finding(ready: Clair) -> None:
    (ready.folder / "config/notifier/config.yaml").unlink()

    where = "config/notifier/config.yaml"
    assert findings(ready, "--offline") == [
        (f"config unreadable, {where}: No such file or directory", f"git checkout -- {where}")
    ]


def test_a_drop_in_of_an_old_release_is_a_finding(clair_of: Callable[[str], Clair]) -> None:
    clair = clair_of("oldest-release")
    clair("secrets")
    clair.write("config/indexer/config.yaml.d/own.yaml", "log_level: debug\n")

    release = clair.deployment.release
    assert findings(clair, "--offline") == [
        (
            f"drop-in not read, config/indexer/config.yaml.d/own.yaml: Clair {release} knows none",
            "move its settings into config/indexer/config.yaml",
        )
    ]


def test_conflict_markers_and_rejected_changes_of_an_update_are_findings(ready: Clair) -> None:
    ready.write("README.md", "a\n<<<<<<< before updating\nb\n=======\nc\n>>>>>>> after updating\n")
    ready.write("config/matcher/config.yaml.rej", "@@ -1 +1 @@\n")
    # The operator's own, and no part of the repository.
    ready.write("backups/x.rej", "")

    assert findings(ready, "--offline") == [
        ("update unfinished, README.md:2: conflict markers", "edit README.md, then make check"),
        (
            "update unfinished, config/matcher/config.yaml.rej: a change that did not fit",
            "merge it by hand, then rm config/matcher/config.yaml.rej",
        ),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"", 0),
        (b"<<<<<<< a\n=======\n>>>>>>> b\n", 1),
        (b"x\n\n<<<<<<< a\n>>>>>>> b\n", 3),
        (b"<<<<<<< only a start\n", 0),
        (b"cat <<<<<<< here\n>>>>>>> x\n", 0),
        (b"=======\ntitle\n=======\n", 0),
    ],
)
def test_only_a_pair_of_markers_is_a_conflict(text: bytes, line: int) -> None:
    assert conflict_line(text) == line


@pytest.mark.parametrize(
    ("name", "value", "sentence", "hint"),
    [
        (
            "psk",
            "not base64!",
            "secret unusable, secrets/psk: no padded standard base64",
            "./clair secrets rotate psk",
        ),
        ("psk", "c2VjcmV0", "secret weak, secrets/psk: shorter than 32 bytes", "./clair secrets rotate psk"),
        (
            "database-indexer",
            "two words",
            "password unusable, secrets/database-indexer: only ASCII letters, digits and signs can be used",
            "./clair secrets rotate database-indexer",
        ),
        (
            "database-ledger",
            "",
            "password unusable, secrets/database-ledger: empty",
            "./clair secrets rotate database-ledger",
        ),
    ],
)
def test_secrets_are_checked_for_what_they_are(ready: Clair, name: str, value: str, sentence: str, hint: str) -> None:
    ready.write(f"secrets/{name}", value + "\n")

    assert findings(ready, "--offline") == [(sentence, hint)]


@pytest.mark.parametrize(
    ("text", "fine"), [("YQ==", True), ("YQ", False), ("YQ==\nYQ==", False), ("_-8=", False), ("", False), ("ÿ", False)]
)
def test_only_padded_standard_base64_is_a_key(text: str, fine: bool) -> None:
    assert (psk_problem(text) is None) == fine


def test_secrets_that_others_may_enter_are_a_warning(ready: Clair) -> None:
    (ready.folder / "secrets").chmod(0o755)

    result = ready("check", "--offline")

    expected = "warning: secrets open to others, secrets: more than its owner may enter\nHINT: chmod 0700 secrets\n"
    assert (result.code, result.err) == (0, expected)


def test_missing_passwords_of_an_external_database_are_the_operators(clair_of: Callable[[str], Clair]) -> None:
    clair = clair_of("external-database")
    clair("secrets")

    (sentence, hint), *_ = findings(clair, "--offline")

    names = ", ".join(f"secrets/database-{role}" for role in ("indexer", "matcher", "notifier", "ledger"))
    assert sentence == f"secret missing, {names}: only you have it"
    assert "./clair secrets --generate" in hint


class TestDockerAndHost:
    """What Docker and the host say."""

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"ServerVersion": "19.03.15"}, "docker too old, 19.03.15: 20.10 or newer is needed"),
            ({"MemTotal": 6 * GIB}, "memory too small, this host: 6.0 GiB, and deployment_size small needs 8 GiB"),
            ({"NCPU": 1}, "too few CPUs, this host: 1, and deployment_size small needs 2"),
            (
                {"Architecture": "aarch64"},
                "architecture wrong, this host: arm64, and architecture amd64 was answered",
            ),
        ],
    )
    def test_a_host_that_does_not_fit_is_a_finding(
        self, ready: Clair, changes: dict[str, object], sentence: str
    ) -> None:
        ready.docker.info(**changes)

        assert [text for text, _ in findings(ready)] == [sentence]

    def test_too_few_cpus_name_a_size_that_docker_can_start(self, ready: Clair) -> None:
        ready.change_facts(size={"name": "medium", "memory_gib": 8, "cpus": 4})
        ready.docker.info(NCPU=2)

        assert findings(ready) == [
            (
                "too few CPUs, this host: 2, and deployment_size medium needs 4",
                "copier update --trust --defaults --data deployment_size=small",
            )
        ]

    def test_memory_a_little_below_the_size_is_enough(self, ready: Clair) -> None:
        facts = ready.deployment
        enough, little = ({"MemTotal": share * 8 * GIB, "NCPU": 2} for share in (0.86, 0.84))

        assert size_findings(facts, enough, allow_small=False) == []
        assert len(size_findings(facts, little, allow_small=False)) == 1

    def test_too_little_disk_is_a_finding(self, ready: Clair, tmp_path: Path) -> None:
        free_gib = shutil.disk_usage(tmp_path).free / GIB
        ready.docker.info(DockerRootDir=str(tmp_path))

        told = [sentence for sentence, _ in findings(ready)]

        if free_gib < 5:
            assert told[0].startswith(f"disk too full, {tmp_path}: ")
        elif free_gib < 40:
            assert told == [
                f"disk may become full, {tmp_path}: {free_gib:.0f} GiB free, and all feeds together take up to 40 GiB"
            ]
        else:
            assert told == []

    def test_a_compose_that_is_too_old_is_a_finding(self, ready: Clair) -> None:
        ready.docker.on(r"compose version --short", "v2.19.1\n")

        assert findings(ready) == [
            (
                "compose too old, v2.19.1: 2.20 or newer is needed",
                "install Compose 2.20 or newer: https://docs.docker.com/compose/install/linux/",
            )
        ]

    def test_the_rendered_model_is_checked_with_the_override(self, ready: Clair) -> None:
        ready.write("compose.override.yaml", "services: {indexer: {imag: x}}\n")
        text = "validating compose.override.yaml: services.indexer additional properties 'imag' not allowed"
        ready.docker.on(r"compose .* config --quiet", stderr=text + "\n", code=15)

        assert findings(ready) == [
            (f"compose model wrong, compose.override.yaml: {text}", "git diff compose.override.yaml")
        ]
        call = ready.docker.calls("config --quiet")[0]
        assert str(ready.folder / "compose.override.yaml") in call.args
        assert "overlay.json" not in call.line

    def test_an_image_of_another_architecture_is_a_finding(self, ready: Clair) -> None:
        ready.docker.on(r"^image inspect .*traefik", "arm64\n")

        image = ready.deployment.facts["images"]["traefik"]
        assert findings(ready) == [
            (
                f"image of another architecture, {image}: it is for arm64, and architecture amd64 was answered",
                f"docker image rm {image}",
            )
        ]

    def test_an_image_that_is_not_here_is_no_finding(self, ready: Clair) -> None:
        ready.docker.on(r"^image inspect", code=1)

        assert findings(ready) == []

    def test_a_daemon_that_is_down_is_said_once(self, ready: Clair) -> None:
        ready.docker.on(r".", stderr="Cannot connect to the Docker daemon at unix:///var/run/docker.sock.\n", code=1)

        assert findings(ready) == [("docker unreachable, its daemon: not running", "sudo systemctl start docker")]

    def test_a_daemon_that_is_down_as_docker_info_says_it(self, ready: Clair) -> None:
        ready.docker.on(r"^info", json.dumps({"ServerErrors": ["Cannot connect to the Docker daemon at x"]}))

        assert ("docker unreachable, its daemon: not running", "sudo systemctl start docker") in findings(ready)


class TestPorts:
    """Ports: in use, held by this deployment, no address of this host."""

    @pytest.fixture
    def listener(self, ready: Clair) -> Iterator[int]:
        """Something else that listens on the edge's port."""
        port = int(ready.deployment.facts["edge"]["port"])
        with socket.socket() as server:
            server.bind(("127.0.0.1", port))
            server.listen()
            yield port

    def test_a_port_in_use_is_a_finding(self, ready: Clair, listener: int) -> None:
        hint = f"ss -ltnp 'sport = :{listener}'"
        assert findings(ready) == [(f"port not free, 127.0.0.1:{listener} (edge_port): in use", hint)]

    def test_the_container_that_holds_it_is_named(self, ready: Clair, listener: int) -> None:
        ready.docker.on(PORTS, f"other\tshop\t0.0.0.0:{listener}->80/tcp\n")

        (sentence, _), *_ = findings(ready)

        assert sentence == f"port not free, 127.0.0.1:{listener} (edge_port): in use (by container other)"

    def test_a_port_this_deployment_holds_is_free(self, ready: Clair, listener: int) -> None:
        ready.docker.on(PORTS, f"clair-traefik\tclair\t127.0.0.1:{listener}->6060/tcp\n")

        assert findings(ready) == []

    def test_an_address_of_no_interface_is_a_finding(self, ready: Clair) -> None:
        edge = ready.deployment.facts["edge"]
        ready.change_facts(edge={**edge, "address": "192.0.2.1", "tls": "files", "hostname": "x"})

        assert f"port not free, 192.0.2.1:{edge['port']} (edge_port): no address of this host" in [
            text for text, _ in findings(ready)
        ]

    def test_ports_of_a_remote_docker_are_not_looked_for_here(self, ready: Clair, listener: int) -> None:
        assert json.loads(ready("check", "--json", DOCKER_HOST="ssh://host").out)["findings"] == []

    @pytest.mark.parametrize(
        ("text", "held"),
        [
            ("", []),
            ("6060/tcp", []),
            ("127.0.0.1:6060->6060/tcp", [("127.0.0.1", 6060)]),
            ("0.0.0.0:80->80/tcp, :::80->80/tcp", [("0.0.0.0", 80), ("::", 80)]),
            ("[::1]:6060-6061->6060-6061/tcp", [("::1", 6060), ("::1", 6061)]),
        ],
    )
    def test_published_ports_are_read_as_docker_prints_them(self, text: str, held: list[tuple[str, int]]) -> None:
        assert parse_ports("c", "p", text) == [Held("c", "p", address, port) for address, port in held]

    def test_a_free_port_can_be_bound(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]

        assert bind_problem("127.0.0.1", port) == ""


class TestCertificates:
    """The edge's certificate, made by openssl in the test."""

    @pytest.fixture
    def made(self, tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
        """Return a function that makes a certificate and its key."""
        if shutil.which("openssl") is None:
            pytest.skip("openssl is missing: install it")

        def make(names: str = "DNS:clair.example", days: int = 90) -> tuple[Path, Path]:
            certificate, key = tmp_path / f"{days}.crt", tmp_path / f"{days}.key"
            words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
            words += ["-keyout", str(key), "-out", str(certificate), "-days", str(days), "-subj", "/CN=x"]
            subprocess.run([*words, "-addext", f"subjectAltName={names}"], check=True, capture_output=True)
            return certificate, key

        return make

    def told(self, pair: tuple[Path, Path], hostname: str = "clair.example", after_days: int = 1) -> list[str]:
        """Return the sentences about a certificate."""
        return [finding.sentence for finding in tls_findings(*pair, hostname, time.time() + after_days * DAY)]

    @pytest.mark.parametrize(
        "names", ["DNS:clair.example", "DNS:*.example.org,DNS:CLAIR.example", "DNS:a,DNS:clair.example"]
    )
    def test_a_fitting_certificate_is_no_finding(self, made: Callable[..., tuple[Path, Path]], names: str) -> None:
        assert self.told(made(names)) == []

    def test_an_expired_one_is_a_finding(self, made: Callable[..., tuple[Path, Path]]) -> None:
        (sentence,) = self.told(made(days=90), after_days=91)

        assert sentence.startswith("certificate expired, secrets/tls.crt: on ")

    def test_one_that_ends_soon_is_a_warning(self, made: Callable[..., tuple[Path, Path]]) -> None:
        (finding,) = tls_findings(*made(days=90), "clair.example", time.time() + 80 * DAY)

        assert finding.warning
        assert finding.sentence.startswith("certificate ends soon, secrets/tls.crt: on ")

    def test_one_that_is_not_valid_yet_is_a_finding(self, made: Callable[..., tuple[Path, Path]]) -> None:
        (sentence,) = self.told(made(), after_days=-2)

        assert sentence.startswith("certificate not valid yet, secrets/tls.crt: from ")

    def test_one_of_another_host_is_a_finding(self, made: Callable[..., tuple[Path, Path]]) -> None:
        told = self.told(made("DNS:other.example,IP:10.0.0.1"))

        names = "other.example, 10.0.0.1"
        assert told == [f"certificate of another host, secrets/tls.crt: names {names}, not clair.example"]

    def test_a_key_of_another_certificate_is_a_finding(self, made: Callable[..., tuple[Path, Path]]) -> None:
        (certificate, _), (_, key) = made(days=90), made(days=91)

        reason = "the key belongs to another certificate"
        assert self.told((certificate, key)) == [f"certificate unusable, secrets/tls.crt and tls.key: {reason}"]

    def test_nonsense_is_a_finding(self, made: Callable[..., tuple[Path, Path]], tmp_path: Path) -> None:
        certificate, key = made()
        certificate.write_text("nonsense")

        reason = "no PEM certificate and key without a password"
        assert self.told((certificate, key)) == [f"certificate unusable, secrets/tls.crt and tls.key: {reason}"]

    def test_missing_files_are_named(self, clair_of: Callable[[str], Clair]) -> None:
        clair = clair_of("tls-files")
        clair("secrets")

        told = [sentence for sentence, _ in findings(clair, "--offline")]

        assert told == ["secret missing, secrets/tls.crt, secrets/tls.key: only you have it"]

    def test_a_ca_file_that_is_none_is_a_finding(self, ready: Clair) -> None:
        ready.write("config/ca/own.crt", "nonsense")

        expected = (
            "certificate unreadable, config/ca/own.crt: no PEM certificate",
            "openssl x509 -in config/ca/own.crt -noout",
        )
        assert findings(ready, "--offline") == [expected]

    def test_plain_http_beyond_this_host_is_a_warning(self, ready: Clair) -> None:
        ready.change_facts(edge={**ready.deployment.facts["edge"], "address": "10.0.0.1", "port": 6060})

        result = ready("check", "--offline")

        assert result.code == 0
        assert result.err == (
            "warning: edge not encrypted, 10.0.0.1:6060: tokens and reports cross the network in the clear\n"
            "HINT: copier update --trust --defaults --data edge_tls=files\n"
        )

    @pytest.mark.parametrize(
        ("pattern", "host", "fits"),
        [
            ("clair.example", "clair.example", True),
            ("*.example.org", "clair.example.org", True),
            ("*.example.org", "a.clair.example.org", False),
            ("*.example.org", "example.org", False),
            ("*.org", "example.org", False),
            ("*", "clair", False),
        ],
    )
    def test_a_star_stands_for_one_label(self, pattern: str, host: str, fits: bool) -> None:
        assert name_matches(pattern, host) == fits


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"host": "user@db"}, "answer wrong, database_host: 'user@db' is no host name or address"),
        ({"port": 0}, "answer wrong, database_port: 0 is no port"),
        ({"sslmode": "prefer"}, "database not encrypted, db.example.com: database_sslmode is prefer"),
    ],
)
def test_the_fields_of_an_external_database_are_checked(
    clair_of: Callable[[str], Clair], changes: dict[str, object], sentence: str
) -> None:
    clair = clair_of("external-database")
    clair("secrets", "--generate")
    clair.change_facts(database={**clair.deployment.facts["database"], "host": "db.example.com", **changes})

    assert [text for text, _ in findings(clair, "--offline")] == [sentence]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_folder_of_another_user_names_the_way_back(clair: Clair) -> None:
    (clair.folder / "state").mkdir()
    os.chown(clair.folder / "state", 0, 0)
    (clair.folder / "state").chmod(0o700)
    for path in takewhile(lambda path: path != Path(gettempdir()), (clair.folder, *clair.folder.parents)):
        path.chmod(0o755)
    program = (
        f"import os; os.setgid(65534); os.setuid(65534); import sys; sys.path.insert(0, {str(clair.folder)!r})\n"
        "from ops.__main__ import main; sys.exit(main(['secrets']))"
    )

    result = subprocess.run(["/usr/bin/python3", "-I", "-c", program], capture_output=True, text=True, check=False)

    expected = 'folder not writable, state: permission denied\nHINT: sudo chown -R "$(id -u):$(id -g)" state\n'
    assert (result.returncode, result.stderr) == (2, expected)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python reads TOML from 3.11 on")
def test_settings_of_the_receiver_that_are_no_toml_name_their_file_once(ready: Clair) -> None:
    ready.write("config/receiver/settings.toml", "[[target]\n")

    checked = ready("check", OFFLINE="1")

    assert checked.code == 1
    assert checked.err.startswith("receiver settings wrong, config/receiver/settings.toml: Expected ")


def test_settings_of_the_receiver_that_are_a_folder_are_refused(ready: Clair) -> None:
    (ready.folder / "config/receiver/settings.toml").mkdir(parents=True)

    checked = ready("check", OFFLINE="1")

    sentence = "receiver settings wrong, config/receiver/settings.toml: it is a folder\n"
    assert (checked.code, checked.err) == (1, f"{sentence}HINT: rmdir config/receiver/settings.toml\n")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python reads TOML from 3.11 on")
def test_settings_of_the_receiver_with_a_wrong_value_need_no_look_at_files(ready: Clair) -> None:
    ready.write("config/receiver/settings.toml", '[[target]]\nname = "chat"\ntype = "fax"\n')

    checked = ready("check", OFFLINE="1")

    expected = (
        "receiver settings wrong, config/receiver/settings.toml: target 1 (chat), type: webhook, slack or email\n"
    )
    assert (checked.code, checked.err) == (1, expected)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python reads TOML from 3.11 on")
def test_settings_of_the_receiver_are_checked_before_it_is_started(ready: Clair) -> None:
    ready.write("config/receiver/settings.toml", '[[target]]\nname = "chat"\ntype = "slack"\nurl_file = "chat"\n')

    checked, started = ready("check", OFFLINE="1"), ready("up")

    sentence = (
        "receiver settings wrong, config/receiver/settings.toml: target 1 (chat), url_file: secrets/chat cannot be read\n"
        "HINT: ls -l secrets config/receiver\n"
    )
    assert (checked.code, checked.err) == (1, sentence)
    assert (started.code, started.err) == (2, sentence)
