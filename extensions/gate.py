"""The one place that talks to Copier and raises: checks each answer before anything is written, and hands templates ready values.

Copier shows a traceback for a bad answer that came by --data, by a data file or from recorded answers; an error raised while
it evaluates `when` is one line instead. So `when` checks these answers, and `validator` says the same sentence at a terminal.

Siblings are loaded from this folder by path, each under a name of its own: during `copier update` the old and the new template
run in one process, and an ordinary import would answer with the other one's module.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import yaml
from copier.errors import UserMessageError
from copier_template_extensions import ContextHook
from jinja2 import Environment, pass_context
from jinja2.runtime import Context

if TYPE_CHECKING:
    from . import catalogue, derive, destination, image_check, rules, values
else:

    def _sibling(name: str) -> ModuleType:
        path = Path(__file__).with_name(f"{name}.py")
        unique = f"clair_template_{abs(hash(str(path)))}_{name}"
        spec = importlib.util.spec_from_file_location(unique, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[unique] = module  # dataclasses look their module up by name
        spec.loader.exec_module(module)
        return module

    catalogue, derive, destination, image_check, rules, values = map(
        _sibling, ("catalogue", "derive", "destination", "image_check", "rules", "values")
    )

__all__ = ["Gate"]

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(__file__).with_name("data")
# platform.machine() in Docker's words; any other machine is shown as it is and refused by the rule.
MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x"}


class Gate(ContextHook):
    """Jinja extension of this template: the functions of copier.yml, and the last check before rendering."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.catalogue = catalogue.load_catalogue(DATA)
        questions = catalogue.read_yaml(ROOT / "copier.yml")
        self.questions = {name: spec for name, spec in questions.items() if not name.startswith("_")}
        self.checked_project = False
        self.kept_files: str | None = None
        environment.globals.update(
            catalogue=self.catalogue,
            machine_architecture=MACHINES.get(platform.machine(), platform.machine()),
            asked=self.asked,
            problem=self.problem,
            derived=self.derived,
            kept_if_present=self.kept_if_present,
        )

    @pass_context
    def asked(self, context: Context, name: str, applies: bool = True, needs: str = "") -> bool:
        """Return whether a question is asked; refuse an answer for it that came without a terminal and is bad.

        `needs` says which other answer makes it apply. Raises UserMessageError.
        """
        conf = context["_copier_conf"]
        passed = {} if _is_internal_render(conf) else conf["data"]
        self._refuse_unknown(passed)
        if not applies:
            if name in passed:
                raise UserMessageError(
                    f"{name} {values.shown(passed[name])} does not apply here: it needs {needs}; leave it out or set that."
                )
            return False
        scripted = conf["defaults"] or conf["skip_answered"] or name in conf["data"]
        if scripted:
            raw = context[name] if name in context else self._default(context, name)
            if reason := self._reason(context, name, raw):
                raise UserMessageError(reason)
        return True

    @pass_context
    def problem(self, context: Context, name: str) -> str:
        """Return the refusal of the answer in `context`, empty if there is none (Copier's validator)."""
        return self._reason(context, name, context[name]) or ""

    @pass_context
    def derived(self, context: Context) -> str:
        """Return, as JSON, what the templates print; nothing else decides there."""
        return json.dumps(derive.derive(self._answers(context), self.catalogue))

    @pass_context
    def kept_if_present(self, context: Context) -> str:
        """Return the pattern of files in the destination that stay as they are."""
        return self._kept_files(context["_copier_conf"])

    def hook(self, context: dict[str, Any]) -> None:
        """Check the destination and, on request, the registries: once, when rendering begins and before the first file."""
        if context.get("_copier_phase") != "render" or self.checked_project:
            return
        self.checked_project = True
        conf = context["_copier_conf"]
        if _is_internal_render(conf):
            return
        self._kept_files(conf)
        if reason := destination.destination_problem(
            Path(conf["dst_path"]), bool(conf["overwrite"]), ROOT / "template"
        ):
            raise UserMessageError(reason)
        if context["image_check"]:
            images = context["deployment"]["images"]
            if reason := image_check.image_problem(images.values(), context["architecture"]):
                raise UserMessageError(reason)

    def _kept_files(self, conf: Mapping[str, Any]) -> str:
        """Decide once, before the first file is written: later the answers file stands there as well."""
        if self.kept_files is None:
            self.kept_files = destination.kept_if_present(Path(str(conf["dst_path"])))
        return self.kept_files

    def _refuse_unknown(self, passed: Mapping[str, Any]) -> None:
        askable = [name for name, spec in self.questions.items() if spec.get("when") is not False]
        for key in passed:
            if key.startswith("_") or key in askable:
                continue
            near = difflib.get_close_matches(key, askable, n=1)
            way_out = f"did you mean {near[0]}?" if near else "docs/questions.md lists all questions."
            raise UserMessageError(
                f"{values.shown(key)[1:-1]} {values.shown(passed[key])} is no question of this template: {way_out}"
            )

    def _reason(self, context: Context, name: str, raw: Any) -> str | None:
        spec = self.questions[name]
        choices = spec.get("choices", [])
        if isinstance(choices, str):
            choices = yaml.safe_load(context.environment.from_string(choices).render(context))
        try:
            value = values.parse_answer(raw, spec["type"], choices, spec.get("multiselect", False))
        except values.Unreadable as error:
            reason: str | None = str(error)
            if name == "clair_version":  # an unquoted 4.10 is best explained by its own rule
                reason = rules.clair_version(str(raw or ""), {}, self.catalogue)
        else:
            rule = rules.RULES.get(name)
            reason = rule(value, self._answers(context), self.catalogue) if rule else None
        return f"{name} {values.shown(raw)} {reason}" if reason else None

    def _default(self, context: Context, name: str) -> Any:
        default = self.questions[name]["default"]
        if isinstance(default, str):
            return context.environment.from_string(default).render(context)
        return default

    def _answers(self, context: Context) -> dict[str, Any]:
        """Return the answers in `context`, each cast to its type (a recorded or passed answer is still raw there)."""
        answers: dict[str, Any] = {}
        for name, spec in self.questions.items():
            if name not in context or spec.get("when") is False:
                continue
            try:
                answers[name] = values.parse_answer(context[name], spec["type"], (), False)
            except values.Unreadable:
                answers[name] = context[name]
            if spec.get("multiselect"):
                answers[name] = values.split_list(context[name])
        return answers


def _is_internal_render(conf: Mapping[str, Any]) -> bool:
    """True for the two temporary renders of `copier update`, which get all recorded and computed values as data."""
    return "copier._main." in str(conf["dst_path"])
