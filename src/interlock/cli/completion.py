"""`interlock completion`: what a shell needs to complete commands, options and names.

The scripts are a few lines each: at every Tab they ask `interlock completion --words`, and so know the names there are.
"""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from interlock.cli import VERBS, module_of
from interlock.cli.table import Parser, end_as_others_do, put
from interlock.errors import InterlockError
from interlock.space import existing, is_made_up

if TYPE_CHECKING:
    from collections.abc import Iterable

DESCRIPTION = """\
Prints a script that makes a shell complete interlock's commands and options, and the names there are. To have it in every
shell:

    bash    echo 'eval "$(interlock completion bash)"' >> ~/.bashrc
    zsh     echo 'eval "$(interlock completion zsh)"' >> ~/.zshrc   (after compinit)
    fish    interlock completion fish > ~/.config/fish/completions/interlock.fish
"""
# bash: quoted words, and of them what comes after the last character that ends a word for readline (a colon, say).
SCRIPTS = {
    "bash": """\
_interlock() {
    local line=${COMP_LINE:0:COMP_POINT} candidate
    COMPREPLY=()
    while IFS= read -r candidate; do
        COMPREPLY+=("$candidate")
    done < <(interlock completion --line "$line" --breaks "$COMP_WORDBREAKS" 2>/dev/null)
}
complete -o bashdefault -o default -F _interlock interlock
""",
    "zsh": """\
#compdef interlock
_interlock() {
    local -a candidates
    candidates=("${(@f)$(interlock completion --words -- "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    if [[ -n $candidates[1] ]]; then
        compadd -a candidates
    else
        _files
    fi
}
compdef _interlock interlock
""",
    "fish": """\
complete -c interlock -a '(interlock completion --words -- (commandline -opc) (commandline -ct) 2>/dev/null)'
""",
}
MOST = 1000  # names


def parser() -> Parser:
    made = Parser("completion", DESCRIPTION, space=False)
    made.add_argument("shell", choices=SCRIPTS, nargs="?", metavar="|".join(SCRIPTS))
    # For the scripts: how the last word may go on, a line each; of these words, or of a line with quotes, for bash.
    made.add_argument("--words", nargs="+", help=argparse.SUPPRESS)
    made.add_argument("--line", help=argparse.SUPPRESS)
    made.add_argument("--breaks", default="", help=argparse.SUPPRESS)
    return made


def main(arguments: list[str]) -> int:
    end_as_others_do()
    if arguments[:2] == ["--words", "--"]:  # words like --json are not ours
        return put(lines(candidates(arguments[2:])))
    given = parser().parse_args(arguments)
    if given.line is not None:
        return put(lines(of_line(given.line, given.breaks)))
    if given.words or given.shell is None:
        parser().error("say for which shell: " + ", ".join(SCRIPTS))
    return put(SCRIPTS[given.shell])


def lines(words: Iterable[str]) -> str:
    return "".join(f"{word}\n" for word in words)


def of_line(line: str, breaks: str) -> list[str]:
    """What bash may put in place of what its last word has after the last of `breaks`."""
    try:
        words = shlex.split(line)
    except ValueError:  # within quotes
        return []
    if not line or line[-1].isspace() or not words:
        words.append("")
    last = words[-1]
    if line.rpartition(" ")[2] != last:  # it is quoted in part: bash would have to take the quotes back
        return []
    kept = max((last.rfind(c) + 1 for c in breaks if c in last), default=0)
    return [shlex.quote(word[kept:]) for word in candidates(words)]


def candidates(words: list[str]) -> list[str]:
    """How the last of the words of a command line may go on; none where a file may stand, or anything."""
    if len(words) < 2:
        return []
    *before, current = words[1:]
    if not before:
        found: Iterable[str] = [*VERBS, "--help", "--version"]
    elif before[0] not in VERBS:
        found = []
    elif before[0] == "run":
        found = of_run(before[1:], current)
    else:
        found = of_parser(module_of(before[0]).parser(), before[1:], current)
    return sorted(word for word in set(found) if word.startswith(current))


def of_run(before: list[str], current: str) -> Iterable[str]:
    from interlock.cli.run import ALONE, NAMES, REFUSED, WITH_VALUE, WrongUse, options

    try:
        _, rest = options(before)
    except WrongUse:
        return ("lock", "rwlock") if before[-1] == "--kind" else ()
    if rest:
        return ()  # the command's own words
    if current.startswith("-") and "--" not in before:
        return [option for option in (*ALONE, *WITH_VALUE, *NAMES) if NAMES.get(option, option) not in REFUSED]
    return names(before)


def of_parser(parser: argparse.ArgumentParser, before: list[str], current: str) -> Iterable[str]:
    options = {
        text: action for action in parser._actions for text in action.option_strings if action.help != argparse.SUPPRESS
    }
    if before and before[-1] in options and options[before[-1]].nargs != 0:
        return options[before[-1]].choices or ()
    if current.startswith("-") and "--" not in before:
        return options
    for action in parser._actions:
        if not action.option_strings:
            return action.choices or (names(before) if action.metavar == "NAME" else ())
    return ()


def names(before: list[str]) -> list[str]:
    """Those of the space that the line is about."""
    url = next((before[at + 1] for at, word in enumerate(before[:-1]) if word == "--space"), None)
    try:
        rows = existing(url)._list()
    except (InterlockError, OSError, ValueError):
        return []
    return [row[0] for row in rows if row[0].isprintable() and not is_made_up(row[0])][:MOST]
