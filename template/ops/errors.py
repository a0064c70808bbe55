"""The one way a command of this deployment fails: a sentence, a hint, an exit code.

Exit codes, the same in all commands: 0 done or clean; 1 the answer is no; 2 wrong use or configuration;
3 could not be decided.
"""

from __future__ import annotations

NO = 1
USAGE = 2
UNDECIDED = 3
INTERRUPTED = 130


class Problem(Exception):
    """A failure a person reads: one sentence, an optional hint, an exit code.

    `sentence` has the form `what failed, on what: reason`, starts in lower case and has no full stop.
    `hint` is a command that can be pasted, or the shortest advice where no command helps.
    """

    def __init__(self, sentence: str, hint: str = "", code: int = USAGE) -> None:
        super().__init__(sentence)
        self.sentence = " ".join(sentence.split())
        self.hint = " ".join(hint.split())
        self.code = code
