"""Runs one command: `python3 -m ops COMMAND`, which is what `./clair COMMAND` does.

The only place that prints a failure: its sentence, a `HINT:` line and, as exit code, the Problem's (see errors.py);
130 after Ctrl-C. CLAIR_DEBUG=1 shows the traceback of an internal error.
"""

import os
import sys

# No annotations import and no other module before this: older Pythons must reach the sentence.
if sys.version_info < (3, 9):
    sys.stderr.write(
        "python too old, %s: 3.9 or newer is needed\nHINT: install python3 3.9 or newer\n" % sys.version.split()[0]
    )
    sys.exit(2)


def unreadable(error: SyntaxError) -> "tuple[str, str]":
    """Return sentence and hint for a module of ours in which an update left conflict markers.

    Everything else would have failed its tests. The hint takes the template's module, whole.
    """
    place = "ops/" + (error.filename or "").replace(os.sep, "/").rpartition("/ops/")[2]
    return (
        f"command unreadable, {place}:{error.lineno}: {error.msg}",
        f"git diff -- {place}; git checkout --theirs -- {place}",
    )


try:
    from .commands import COMMANDS, help_text
    from .errors import INTERRUPTED, UNDECIDED, USAGE, Problem
except SyntaxError as _error:
    # These two are what a Problem and its exit code would come from.
    sys.stderr.write("%s\nHINT: %s\n" % unreadable(_error))
    sys.exit(2)


def report(problem: Problem) -> int:
    """Print a Problem on stderr and return its exit code."""
    print(problem.sentence, file=sys.stderr)
    if problem.hint:
        print(f"HINT: {problem.hint}", file=sys.stderr)
    return problem.code


def run(argv: "list[str]") -> int:
    """Run the command that `argv` names and return its exit code.

    Raises Problem (2) if there is no such command.
    """
    if not argv:
        print(help_text(), file=sys.stderr)
        return USAGE
    if argv[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0
    if argv[0] not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(argv[0], COMMANDS, 1, 0.6)
        raise Problem(f"command unknown, {argv[0]}: did you mean {near[0]}" if near else f"command unknown, {argv[0]}: no such command",
                      f"./clair {near[0]}" if near else "./clair --help")  # fmt: skip
    from importlib import import_module

    _, module, function, _ = COMMANDS[argv[0]]
    code = getattr(import_module(f".{module}", __package__), function)(argv[1:])
    # A full disk or a closed pipe shows when the rest is written, which must not happen after the exit code is chosen.
    sys.stdout.flush()
    return int(code)


def main(argv: "list[str]") -> int:
    """Run a command and turn every way it can end into an exit code."""
    try:
        return run(argv)
    except Problem as problem:
        return report(problem)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # `./clair logs | head`: nobody reads the rest, so nobody has the whole answer. The descriptor is replaced so that
        # Python's own flush is quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNDECIDED
    except SyntaxError as error:
        return report(Problem(*unreadable(error)))
    except Exception as error:
        if os.environ.get("CLAIR_DEBUG") == "1":
            raise
        print(f"internal error, {argv[0]}: {type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        print("HINT: run it again with CLAIR_DEBUG=1 and report what it prints", file=sys.stderr)
        return UNDECIDED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
