"""Every bad answer is refused with one whole sentence before anything is written: passed by --data, in a data file, or recorded.

In process, where Copier raises what its command line prints as the last line; the command line itself is in test_bad_input_cli.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.support import facts, repositories
from tests.support.copier_runs import refusal_of_copy, refusal_of_recorded, refusal_of_update

NEWEST = facts.releases()[-1]
VERSIONS = f"choose newest or a release from {facts.releases()[0]} to {NEWEST}"
NUMBER = "is no whole number: write digits only."
WORD = "is neither true nor false: write true or false."
PORT = "is no port: choose 1 to 65535."
REPLICAS = "is out of range: choose 1 to 16."
HOST = "is no host name: write it like clair.example.com, without scheme, port or path."
WORDS = "is no list of words: write [one, two]."
IN_GIT = "carries a user or a query, and answers are kept in git:"


class Bad(NamedTuple):
    """A bad answer: as it stands in YAML, what the sentence says, and the other answers that make the case."""

    question: str
    value: str
    refusal: str
    others: str = "{}"

    @property
    def sentence(self) -> str:
        """The whole sentence about the answer as text."""
        return f"{self.question} {self.refusal}"

    @property
    def sentence_of_typed(self) -> str:
        """The whole sentence about the answer as YAML types it: a list is shown item by item."""
        shown = f"'{self.value}'"
        return (
            self.sentence.replace(shown, str(yaml.safe_load(self.value)), 1)
            if self.value.startswith("[")
            else self.sentence
        )

    @property
    def passed(self) -> dict[str, Any]:
        """The answers as --data passes them: this one as text."""
        text = yaml.safe_load(self.value)
        return {**yaml.safe_load(self.others), self.question: text if isinstance(text, str) else self.value}

    @property
    def typed(self) -> dict[str, Any]:
        """The answers as YAML reads them in a data file or an answers file."""
        return {**yaml.safe_load(self.others), self.question: yaml.safe_load(self.value)}


EXTERNAL = "{database_mode: external, database_host: db.example.com}"
FILES = "{edge_tls: files, edge_hostname: clair.example.com}"
ACME = "{edge_tls: acme, edge_hostname: clair.example.com, edge_acme_email: ops@example.com, edge_address: 0.0.0.0, edge_port: 443}"
WEBHOOK = "{notifier_delivery: webhook}"

BAD = [
    Bad(
        "deployment_name",
        "My Clair",
        "'My Clair' is no Compose project name: use lower-case letters, digits, - and _, and begin with a letter or digit.",
    ),
    Bad("deployment_target", "nomad", "'nomad' is not supported: choose compose."),
    Bad(
        "clair_version",
        "4.99.0",
        f"'4.99.0' is not known to this version of the template: {VERSIONS}, or run copier update if it is newer.",
    ),
    Bad(
        "clair_version",
        "4.2.1",
        f"'4.2.1' is not supported, its image exists for amd64 only (arm64 begins with 4.3.0): {VERSIONS}.",
    ),
    Bad(
        "clair_version",
        "v4.9.0-rc.1",
        f"'v4.9.0-rc.1' is not supported, it is a pre-release, made to be tested and then replaced: {VERSIONS}.",
    ),
    Bad("clair_version", "''", f"'' is empty: {VERSIONS}."),
    Bad("architecture", "riscv64", "'riscv64' is not supported: choose amd64, arm64, ppc64le or s390x."),
    Bad(
        "architecture",
        "s390x",
        "'s390x' has no image of Clair 4.6.1: choose amd64, arm64, ppc64le or clair_version 4.7.0 or newer.",
        "{clair_version: 4.6.1}",
    ),
    Bad(
        "architecture",
        "ppc64le",
        "'ppc64le' has no image of Clair 4.5.1: choose amd64, arm64 or clair_version 4.6.0 or newer.",
        "{clair_version: 4.5.1}",
    ),
    Bad(
        "image_mirror",
        "https://reg.example.com",
        "'https://reg.example.com' has a scheme: write it like reg.example.com/mirror.",
    ),
    Bad(
        "image_mirror",
        "user:hunter2@reg.example.com",
        "'***@reg.example.com' carries a user or a query: give only host and path, and log in with docker login.",
    ),
    Bad("image_check", "maybe", f"'maybe' {WORD}"),
    Bad("deployment_size", "huge", "'huge' is not supported: choose small, medium or large."),
    Bad("indexer_replicas", "0", f"'0' {REPLICAS}"),
    Bad("indexer_replicas", "two", f"'two' {NUMBER}"),
    Bad("matcher_replicas", "17", f"'17' {REPLICAS}"),
    Bad("notifier_replicas", "-1", f"'-1' {REPLICAS}"),
    Bad("notifier_delivery", "email", "'email' is not supported: choose bundled, webhook, amqp, stomp or none."),
    Bad(
        "notifier_target",
        "''",
        "'' is empty, and notifier_delivery 'webhook' needs a target: write it like https://hooks.example.com/clair.",
        WEBHOOK,
    ),
    Bad(
        "notifier_target",
        "https://user:hunter2@hooks.example.com/in",
        f"'https://***@hooks.example.com/in' {IN_GIT} leave them out here and put the full URL into secrets/notifier-target.",
        WEBHOOK,
    ),
    Bad(
        "notifier_target",
        "https://hooks.example.com/in?token=hunter2",
        f"'https://hooks.example.com/in?***' {IN_GIT} leave them out here and put the full URL into secrets/notifier-target.",
        WEBHOOK,
    ),
    Bad("database_mode", "shared", "'shared' is not supported: choose bundled or external."),
    Bad("database_version", "'14'", "'14' is not supported: choose 15, 16, 17 or 18."),
    Bad(
        "database_host",
        "''",
        "'' is empty: give the host of the external PostgreSQL, such as db.example.com.",
        "{database_mode: external}",
    ),
    Bad("database_host", "db.example.com:5432", f"'db.example.com:5432' {HOST}", "{database_mode: external}"),
    Bad("database_port", "65536", f"'65536' {PORT}", EXTERNAL),
    Bad(
        "database_sslmode",
        "maybe",
        "'maybe' is not supported: choose verify-full, verify-ca, require, prefer, allow or disable.",
        EXTERNAL,
    ),
    Bad(
        "updater_families",
        "[debian, arch]",
        "'[debian, arch]' holds 'arch', which is not supported: choose from"
        " alpine, aws, debian, oracle, osv, photon, rhel, suse, ubuntu.",
    ),
    Bad("updater_families", "debian", "'debian' is no list: write [alpine, aws]."),
    Bad(
        "updater_families",
        "[]",
        "'[]' is empty, and without a feed no image can be judged: choose at least one family.",
    ),
    Bad("enrichment_enabled", "perhaps", f"'perhaps' {WORD}"),
    Bad("update_retention", "1", "'1' is out of range: choose 2 to 100."),
    Bad("backup_keep", "0", "'0' is out of range: choose 1 to 1000."),
    Bad("feeds_offline", "'2'", f"'2' {WORD}"),
    Bad("edge_tls", "maybe", "'maybe' is not supported: choose off, files or acme."),
    Bad(
        "edge_hostname", "''", "'' is empty: give the name clients use, such as clair.example.com.", "{edge_tls: files}"
    ),
    Bad("edge_hostname", "clair_1.example.com", f"'clair_1.example.com' {HOST}", FILES),
    Bad(
        "edge_acme_email",
        "''",
        "'' is empty: give an address for the certificate authority's notices, such as ops@example.com.",
        ACME,
    ),
    Bad(
        "edge_acme_server",
        "https://user:hunter2@ca.example.com/directory",
        f"'https://***@ca.example.com/directory' {IN_GIT} write it like https://acme-v02.api.letsencrypt.org/directory.",
        ACME,
    ),
    Bad(
        "edge_address",
        "localhost",
        "'localhost' is no IP address: write it like 127.0.0.1, 0.0.0.0 or ::1, without brackets.",
    ),
    Bad(
        "edge_address",
        "127.0.0.1",
        "'127.0.0.1' cannot go with edge_tls 'acme', whose authority connects from outside: choose 0.0.0.0 or a public address.",
        ACME,
    ),
    Bad("edge_port", "0", f"'0' {PORT}"),
    Bad("edge_port", "http", f"'http' {NUMBER}"),
    Bad(
        "edge_port",
        "8443",
        "'8443' cannot go with edge_tls 'acme', which is validated on port 443 only: set edge_port to 443.",
        ACME,
    ),
    Bad("operations_port", "99999", f"'99999' {PORT}"),
    Bad(
        "operations_port",
        "7070",
        "'7070' is edge_port as well: choose another port for one of them.",
        "{edge_port: 7070}",
    ),
    Bad("quay_enabled", "''", f"'' {WORD}"),
    Bad(
        "auth_issuers",
        "'[clairctl, a b]'",
        "'[clairctl, a b]' holds 'a b', which is no issuer: use letters, digits, dot, - and _.",
    ),
    Bad("auth_issuers", "'{a: b}'", f"'{{a: b}}' {WORDS}"),
    Bad(
        "proxy_url",
        "http://user:hunter2@proxy.example.com:3128",
        f"'http://***@proxy.example.com:3128' {IN_GIT} leave them out here and put the full URL into secrets/proxy-url.",
    ),
    Bad(
        "proxy_exceptions",
        "'[10.0.0.0/33]'",
        "'[10.0.0.0/33]' holds '10.0.0.0/33', which is no host, domain, address or network: write [registry.example.com, 10.0.0.0/8].",
        "{proxy_url: http://proxy.example.com}",
    ),
    Bad(
        "tracing_endpoint",
        "http://collector.example.com",
        "'http://collector.example.com' does nothing with Clair 4.8.0: choose clair_version 4.9.0 or newer, or leave it empty.",
        "{clair_version: 4.8.0}",
    ),
    Bad(
        "tracing_endpoint",
        "http://user:hunter2@collector.example.com",
        f"'http://***@collector.example.com' {IN_GIT} write it like http://collector.example.com:4318.",
    ),
]

# An answer to a question that does not apply, and what would make it apply.
INAPPLICABLE = [
    ("notifier_target", "https://hooks.example.com", "notifier_delivery webhook, amqp or stomp", {}),
    ("notifier_replicas", "2", "a notifier_delivery other than none", {"notifier_delivery": "none"}),
    ("database_version", "17", "database_mode bundled", {"database_mode": "external", "database_host": "db"}),
    ("database_host", "db.example.com", "database_mode external", {}),
    ("database_port", "5432", "database_mode external", {}),
    ("database_sslmode", "require", "database_mode external", {}),
    ("edge_hostname", "clair.example.com", "edge_tls files or acme", {}),
    (
        "edge_acme_email",
        "ops@example.com",
        "edge_tls acme",
        {"edge_tls": "files", "edge_hostname": "clair.example.com"},
    ),
    ("edge_acme_server", "https://ca.example.com/directory", "edge_tls acme", {}),
    ("proxy_exceptions", "[]", "a proxy_url", {}),
]


def case_id(case: Bad) -> str:
    """Return `question=value`, with the other answers if there are any."""
    others = "" if case.others == "{}" else f" with {case.others}"
    return f"{case.question}={case.value[:40]}{others[:40]}"


def with_recorded(project: Path, answers: dict[str, Any], folder: Path) -> Path:
    """Copy a project, record these answers in the copy as if they had been given, and return its folder."""
    copy = repositories.clone_of(project, folder)
    file = copy / ".copier-answers.yml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text(encoding="utf-8")), **answers}), encoding="utf-8")
    repositories.commit(copy, "other answers")
    return copy


@pytest.fixture(scope="session")
def deployed(tagged_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committed project of defaults; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("deployed") / "project"
    return repositories.project(tagged_template, folder, {"architecture": "amd64"})


@pytest.mark.parametrize("case", BAD, ids=case_id)
def test_bad_answer_passed_as_data_is_refused(template: Path, tmp_path: Path, case: Bad) -> None:
    refusal = refusal_of_copy(template, tmp_path / "new", case.passed)

    assert refusal == case.sentence
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("case", [case for case in BAD if case.typed != case.passed], ids=case_id)
def test_bad_answer_that_a_data_file_types_is_refused(template: Path, tmp_path: Path, case: Bad) -> None:
    refusal = refusal_of_copy(template, tmp_path / "new", case.typed)

    assert refusal == case.sentence_of_typed
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("case", list({case.question: case for case in BAD}.values()), ids=case_id)
def test_bad_answer_that_is_recorded_is_refused(deployed: Path, tmp_path: Path, case: Bad) -> None:
    project = with_recorded(deployed, case.typed, tmp_path / "project")

    refusal = refusal_of_recorded(project)

    assert refusal == case.sentence_of_typed
    assert repositories.git(project, "status", "--porcelain", "--ignored") == ""


# One of each type: what is refused is decided before `copier update` compares anything.
@pytest.mark.parametrize(
    "case", list({facts.questions()[case.question]["type"]: case for case in BAD}.values()), ids=case_id
)
def test_bad_answer_that_is_recorded_is_refused_at_update(deployed: Path, tmp_path: Path, case: Bad) -> None:
    project = with_recorded(deployed, case.typed, tmp_path / "project")

    refusal = refusal_of_update(project)

    assert refusal == case.sentence_of_typed
    assert repositories.git(project, "status", "--porcelain", "--ignored") == ""


def test_every_question_has_a_bad_answer() -> None:
    assert {case.question for case in BAD} == set(facts.questions())


@pytest.mark.parametrize("case", BAD, ids=case_id)
def test_refusal_names_the_question_and_a_way_out_in_one_line(case: Bad) -> None:
    assert case.sentence.isprintable()
    assert case.sentence.endswith(".")
    assert "hunter2" not in case.sentence


@pytest.mark.parametrize(
    ("value", "shown"),
    [("4.10", "'4.1'"), ("v4.10", "'v4.10'"), ('"4.10"', "'4.10'")],
    ids=["unquoted", "with-v", "quoted"],
)
def test_release_without_its_last_number_is_explained(template: Path, tmp_path: Path, value: str, shown: str) -> None:
    answers = yaml.safe_load(f"clair_version: {value}")

    refusal = refusal_of_copy(template, tmp_path / "new", answers)

    assert refusal == (
        f"clair_version {shown} is no full release number: {VERSIONS}, and quote a value like '4.10', which YAML reads as 4.1."
    )


def test_off_without_quotes_is_explained(template: Path, tmp_path: Path) -> None:
    refusal = refusal_of_copy(template, tmp_path / "new", yaml.safe_load("edge_tls: off"))

    assert refusal == "edge_tls 'False' is not supported: choose off, files or acme (in YAML quote it: 'off')."


@pytest.mark.parametrize("version", ["v4.9.0", "v4.5.0"])
def test_release_with_a_leading_v_is_accepted(template: Path, tmp_path: Path, version: str) -> None:
    assert refusal_of_copy(template, tmp_path / "new", {"architecture": "amd64", "clair_version": version}) == ""


@pytest.mark.parametrize("case", INAPPLICABLE, ids=lambda case: case[0])
def test_answer_to_a_question_that_does_not_apply_is_refused(
    template: Path, tmp_path: Path, case: tuple[str, str, str, dict[str, str]]
) -> None:
    question, value, needs, others = case

    refusal = refusal_of_copy(template, tmp_path / "new", {**others, question: value})

    assert refusal == f"{question} '{value}' does not apply here: it needs {needs}; leave it out or set that."
    assert not (tmp_path / "new").exists()


def test_every_conditional_question_has_an_inapplicable_answer() -> None:
    conditional = {name for name, spec in facts.questions().items() if "," in spec["when"]}

    assert {case[0] for case in INAPPLICABLE} == conditional


def test_recorded_answer_that_no_longer_applies_is_dropped(deployed: Path, tmp_path: Path) -> None:
    project = with_recorded(
        deployed, {"database_host": "db.example.com", "retired_question": "x"}, tmp_path / "project"
    )

    refusal = refusal_of_update(project)

    assert refusal == ""
    assert "database_host" not in yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("key", "way_out"),
    [
        ("clair_verison", "did you mean clair_version?"),
        ("deployment", "did you mean deployment_size?"),
        ("zzz", "docs/questions.md lists all questions."),
    ],
)
def test_unknown_key_is_refused(template: Path, tmp_path: Path, key: str, way_out: str) -> None:
    refusal = refusal_of_copy(template, tmp_path / "new", {key: "4.9.0"})

    assert refusal == f"{key} '4.9.0' is no question of this template: {way_out}"
    assert not (tmp_path / "new").exists()


def test_unknown_key_is_refused_at_update(deployed: Path, tmp_path: Path) -> None:
    project = repositories.clone_of(deployed, tmp_path / "project")

    refusal = refusal_of_update(project, {"edge_prot": "7070"})

    assert refusal == "edge_prot '7070' is no question of this template: did you mean edge_port?"
    assert repositories.git(project, "status", "--porcelain", "--ignored") == ""


@pytest.mark.parametrize(
    ("machine", "refusal"),
    [("aarch64", ""), ("riscv64", "architecture 'riscv64' is not supported: choose amd64, arm64, ppc64le or s390x.")],
)
def test_architecture_of_the_machine_is_the_default(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, refusal: str
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)

    assert refusal_of_copy(template, tmp_path / "new", {}) == refusal


def test_key_with_a_leading_underscore_passes(template: Path, tmp_path: Path) -> None:
    assert refusal_of_copy(template, tmp_path / "new", {"architecture": "amd64", "_note": "x"}) == ""
