"""Names of what is compared: rules, policies and attacks with their parameters, as texts with one canonical form.

    method  = rule [parameters] ["+debiased"] ["@" policy [parameters]]
    attack  = attack [parameters] ["#" attackers]
    attackers = number ["/" declared number]
    parameters = "(" [key "=" value {"," key "=" value}] ")"

A value is a number, `true`, `false`, a word, a text in quotes, a list `[a,b]` or a table `{key=value}`. Without
brackets, a name stands for its default parameters, or for the scenario's where it is the scenario's own; empty brackets
stand for the defaults. The canonical text, which names rows on disk, has no blanks, its keys sorted, and whole numbers
without a point; a plain name is its own canonical text.
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeVar

from ceas.errors import DomainError
from ceas.experiments.scenario_text import toml_value

__all__ = [
    "AttackName",
    "Attackers",
    "MethodName",
    "Named",
    "attack_names",
    "parse_attack",
    "parse_attackers",
    "parse_method",
    "split_names",
]

# What may be said of a rule after a plus sign.
_DEBIASED = "debiased"
_WORD = re.compile(r"[A-Za-z_]\w*(?:[.:][A-Za-z_]\w*)*")
_TOKEN = re.compile(
    r"\s*(?:(?P<string>\"(?:[^\"\\]|\\.)*\"|'[^']*')"
    r"|(?P<number>[+-]?\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    rf"|(?P<word>{_WORD.pattern})"
    r"|(?P<mark>[()\[\]{},=+@#/])"
    r"|(?P<end>$))"
)
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """An entry of a table of names; `parameters` None leaves them to the scenario and the defaults."""

    name: str
    parameters: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        return self.name if self.parameters is None else f"{self.name}({_pairs(self.parameters)})"

    def overrides(self, section: str, key: str) -> list[str]:
        """Return the scenario overrides that choose it."""
        given = [] if self.parameters is None else [f"{section}.parameters={toml_value(self.parameters)}"]
        return [f"{section}.{key}={toml_value(self.name)}", *given]


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodName:
    """An aggregation rule, perhaps debiased, perhaps under a scheduling policy of its own; `str` is canonical."""

    rule: Named
    is_debiased: bool = False
    policy: Named | None = None

    def __str__(self) -> str:
        policy = "" if self.policy is None else f"@{self.policy}"
        return f"{self.rule}{'+debiased' if self.is_debiased else ''}{policy}"

    def overrides(self) -> list[str]:
        """Return the scenario overrides that choose it."""
        found = self.rule.overrides("aggregation", "rule")
        found += ["aggregation.is_debiased=true"] if self.is_debiased else []
        return found + ([] if self.policy is None else self.policy.overrides("schedule", "policy"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attackers:
    """How many nodes attack, and how many the rule is told of; None leaves that to the scenario's own defaults."""

    n_byzantine: int
    tolerated: int | None = None

    def __str__(self) -> str:
        return f"{self.n_byzantine}" + ("" if self.tolerated is None else f"/{self.tolerated}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackName:
    """An attack, perhaps with a number of attackers of its own; `str` is canonical."""

    attack: Named
    attackers: Attackers | None = None

    def __str__(self) -> str:
        return f"{self.attack}" + ("" if self.attackers is None else f"#{self.attackers}")

    def overrides(self) -> list[str]:
        """Return the scenario overrides that choose it."""
        found = self.attack.overrides("byzantine", "attack")
        if self.attackers is not None:
            found.append(f"byzantine.n_byzantine={self.attackers.n_byzantine}")
            if self.attackers.tolerated is not None:
                found.append(f"aggregation.tolerated_byzantine={self.attackers.tolerated}")
        return found


def split_names(text: str) -> list[str]:
    """Split a list at the commas outside brackets and quotes; empty parts are left out.

    Raises:
        DomainError: A bracket or a quotation mark is left open.
    """
    parts, start, expected = [], 0, [""]
    for token in _tokens(text, text):
        mark = token["mark"]
        if mark in _CLOSING:
            expected.append(_CLOSING[mark])
        elif mark in _CLOSING.values():
            if mark != expected.pop():
                _refuse(text, token, "no such bracket is open")
        elif mark == "," and len(expected) == 1:
            parts.append(text[start : token.start("mark")])
            start = token.end()
    if len(expected) > 1:
        raise DomainError(f"`{text}`: found its end, but `{expected[-1]}` must come before.")
    return [part.strip() for part in (*parts, text[start:]) if part.strip()]


def parse_method(text: str) -> MethodName:
    """Read a method.

    Raises:
        DomainError: The text does not have the form of one; the message says what was found where.
    """
    return _whole(text, _Reader.method)


def parse_attack(text: str) -> AttackName:
    """Read an attack.

    Raises:
        DomainError: The text does not have the form of one; the message says what was found where.
    """
    return _whole(text, _Reader.attack)


def parse_attackers(text: str) -> Attackers:
    """Read a number of attackers, `5`, or with the number that the rule is told of, `5/10`.

    Raises:
        DomainError: The text is not of this form.
    """
    return _whole(text, _Reader.attackers)


def attack_names(attacks: Sequence[str], attackers: Sequence[str]) -> list[str]:
    """Return every attack with every number of attackers, each once; without attackers there is no attack.

    Args:
        attacks: Attacks; one with a number of its own keeps it.
        attackers: Numbers as `parse_attackers` reads them; empty to leave all attacks as they are.

    Raises:
        DomainError: A text cannot be read.
    """
    counts = [parse_attackers(text) for text in attackers]
    found: list[AttackName] = []
    for attack in map(parse_attack, attacks):
        if attack.attackers is not None or not counts:
            found.append(attack)
            continue
        found += [replace(_present(attack, count), attackers=count) for count in counts]
    return list(dict.fromkeys(map(str, found)))


def _present(attack: AttackName, count: Attackers) -> AttackName:
    return attack if count.n_byzantine else AttackName(attack=Named(name="none"))


def _whole(text: str, read: "Callable[[_Reader], _Parsed]") -> _Parsed:
    reader = _Reader(text)
    found = read(reader)
    reader.finish()
    return found


def _tokens(text: str, whole: str) -> Iterator["re.Match[str]"]:
    at = 0
    while True:
        token = _TOKEN.match(text, at)
        if token is None:
            rest = text[at:].lstrip()
            what = "an open quotation mark" if rest[0] in "\"'" else f"`{rest[0]}`"
            place = f" after `{text[:at].strip()}`" if text[:at].strip() else ""
            allowed = "a name, a number, a text in quotes, or one of ( ) [ ] { } , = + @ # /"
            raise DomainError(f"`{whole.strip()}`: found {what}{place}, must be {allowed}.")
        yield token
        if token.lastgroup == "end":
            return
        at = token.end()


def _refuse(text: str, token: "re.Match[str]", why: str) -> NoReturn:
    before = text[: token.start()].strip()
    found = "its end" if token.lastgroup == "end" else f"`{token[0].strip()}`"
    raise DomainError(f"`{text.strip()}`: found {found}{f' after `{before}`' if before else ''}, {why}.")


class _Reader:
    """Reads one text from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text, text))
        self._at = 0

    def finish(self) -> None:
        if self._next.lastgroup != "end":
            self._fail("nothing may follow")

    def method(self) -> MethodName:
        rule, is_debiased, policy = self._named("an aggregation rule"), False, None
        if self._takes("+"):
            if self._next["word"] != _DEBIASED:
                self._fail(f"must be {_DEBIASED}")
            self._at += 1
            is_debiased = True
        if self._takes("@"):
            policy = self._named("a scheduling policy")
        if self._next["mark"] in ("+", "#", "/"):
            self._fail(f"a method is RULE, RULE+{_DEBIASED}, RULE@POLICY or RULE+{_DEBIASED}@POLICY")
        return MethodName(rule=rule, is_debiased=is_debiased, policy=policy)

    def attack(self) -> AttackName:
        attack = self._named("an attack")
        if self._next["mark"] in ("+", "@", "/"):
            self._fail("an attack is ATTACK, ATTACK#NUMBER or ATTACK#NUMBER/DECLARED")
        return AttackName(attack=attack, attackers=self.attackers() if self._takes("#") else None)

    def attackers(self) -> Attackers:
        n_byzantine = self._count("a number of attackers")
        tolerated = self._count("a declared number") if self._takes("/") else None
        return Attackers(n_byzantine=n_byzantine, tolerated=tolerated)

    def _named(self, what: str) -> Named:
        name = self._word(f"must be the name of {what}")
        return Named(name=name, parameters=self._table(")") if self._takes("(") else None)

    def _table(self, closing: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not self._takes(closing):
            place = self._at
            key = self._word(f"must be KEY=VALUE or `{closing}`")
            if key in found:
                self._at = place
                self._fail("is given twice")
            if not self._takes("="):
                self._fail(f"`=` must follow the name of parameter {key}")
            found[key] = self._value()
            if not self._takes(",") and self._next["mark"] != closing:
                self._fail(f"must be `,` or `{closing}`")
        return found

    def _list(self) -> list[Any]:
        found: list[Any] = []
        while not self._takes("]"):
            found.append(self._value())
            if not self._takes(",") and self._next["mark"] != "]":
                self._fail("must be `,` or `]`")
        return found

    def _value(self) -> Any:
        if self._takes("["):
            return self._list()
        if self._takes("{"):
            return self._table("}")
        token = self._next
        if token.lastgroup not in ("string", "number", "word"):
            self._fail("must be a number, true, false, a word, a text in quotes, [...] or {...}")
        self._at += 1
        if token["word"] is not None and token["word"] not in ("true", "false"):
            return token["word"]
        try:
            return tomllib.loads(f"value = {token[0].strip()}")["value"]
        except tomllib.TOMLDecodeError:
            self._at -= 1
            self._fail("is not a value of TOML")

    def _count(self, what: str) -> int:
        token = self._next
        if token["number"] is None or not token["number"].isdecimal():
            self._fail(f"must be {what}, a whole number from 0")
        self._at += 1
        return int(token["number"])

    def _word(self, why: str) -> str:
        token = self._next
        if token["word"] is None:
            self._fail(why)
        self._at += 1
        return token["word"]

    @property
    def _next(self) -> "re.Match[str]":
        return self._tokens[self._at]

    def _takes(self, mark: str) -> bool:
        if self._next["mark"] != mark:
            return False
        self._at += 1
        return True

    def _fail(self, why: str) -> NoReturn:
        _refuse(self._text, self._next, why)


def _pairs(table: Mapping[str, Any]) -> str:
    return ",".join(f"{key}={_canonical(value)}" for key, value in sorted(table.items()))


def _canonical(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        is_word = _WORD.fullmatch(value) is not None and value not in ("true", "false")
        return value if is_word else toml_value(value)
    if isinstance(value, Mapping):
        return f"{{{_pairs(value)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_canonical, value))}]"
    # A scenario's identity does not tell 1 from 1.0 either.
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return str(int(value)) if is_whole else repr(value)
