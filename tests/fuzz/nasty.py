"""Values that programs stumble over, and how to spoil a document and its bytes with them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

__all__ = ["STRANGE_TEXTS", "Raw", "Repeated", "encode", "spoil_bytes", "spoil_document", "strange_json"]

Spoiler = Callable[[Random, bytes], bytes]


@dataclass(frozen=True, slots=True)
class Raw:
    """A node that is written as these bytes, whatever they are."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Repeated:
    """An object with a key more than once."""

    key: str
    values: tuple[Any, ...]
    rest: dict[str, Any]


STRANGE_TEXTS: Final = (
    "", " ", "\n", "\t x", "\x00", "\x1f", "a\x1fb", "\x7f", "\u200b", "\u202e", "\ufeff", "\ufffd", "\U0001f680", "é́",
    "a b", "a:b:c", "*", "?", "[a]", "\\", "'", '"', "${x}", "{{ parameters.x }}", "{% for %}", "%s%n", "../../etc",
    "/", "//", "#", "-1", "0", "NaN", "null", "true", "undefined", "__proto__", "constructor", "valid", "x" * 201,
    "x" * 300, "x" * 5_000, "é" * 200, "\u0130", "ﬀ", "Ａ", "headwater:events", "run-0", "SELECT 1;--", "\r\nX: y",
)  # fmt: skip
_STRANGE_TIMES: Final = (
    "2026-02-30T00:00:00Z", "2026-11-23T24:00:00Z", "2026-11-23T23:59:60Z", "2026-11-23", "10:00", "now",
    "2026-11-23T10:00:00", "0000-00-00T00:00:00Z", "0001-01-01T00:00:00Z", "1899-12-31T23:59:59Z",
    "2999-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "2026-11-23T10:00:00+99:99", "2026-11-23T10:00:00.1234567890123Z",
    "2026-11-23T10:00:00,5Z", "-2026-11-23T10:00:00Z", "２０２６-11-23T10:00:00Z", "2026-W47-1T10:00:00Z",
    "1795428000000", "2026-11-23T10:00:00 Z", "2026-11-23T10:00:00Z\n",
)  # fmt: skip
_STRANGE_NODES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, 1.5, -0.0, 1e308, 5e-324, [], {},
    [[]], [None], {"": None}, {"a": {"b": {}}}, [1, "a", None],
    Raw(b"1e999"), Raw(b"-1e999"), Raw(b"NaN"), Raw(b"Infinity"), Raw(b"-Infinity"), Raw(b"1" * 5_000), Raw(b"0" * 30),
    Raw(b"0x10"), Raw(b"+1"), Raw(b".5"), Raw(b"1."), Raw(b"1e"), Raw(b"'a'"), Raw(b'"\\ud800"'),
    Raw(b'"\\udc00\\ud800"'),
    Raw(b'"\\x41"'), Raw(b'"\\u12"'), Raw(b'"\xff\xfe"'), Raw(b'"\xc0\xaf"'), Raw(b'"\xed\xa0\x80"'), Raw(b'"\n"'),
    Raw(b"[" * 60 + b"]" * 60), Raw(b"[" * 300 + b"]" * 300), Raw(b'{"a":' * 300 + b"1" + b"}" * 300),
    Raw(b"[" * 20_000), Raw(b"[1,]"), Raw(b"{,}"), Raw(b"/* x */ 1"), Raw(b"tru"), Raw(b""), Raw(b"{} {}"),
    Repeated("a", (1, 2), {}),
)  # fmt: skip
_FOREIGN_KEYS: Final = ("version", "changedVersion", "inputs", "schemaVersion", "type", "runId", "unmade")


def encode(node: Any) -> bytes:
    """The JSON of a document, also of what no JSON can be."""
    match node:
        case Raw(text):
            return text
        case Repeated(key, values, rest):
            pairs = [*((key, value) for value in values), *rest.items()]
            return b"{" + b",".join(encode(name) + b":" + encode(value) for name, value in pairs) + b"}"
        case dict():
            return b"{" + b",".join(encode(str(key)) + b":" + encode(value) for key, value in node.items()) + b"}"
        case list() | tuple():
            return b"[" + b",".join(map(encode, node)) + b"]"
        case _:
            return json.dumps(node, ensure_ascii=False).encode(errors="surrogatepass")


def strange_json(random: Random, depth: int = 0) -> Any:
    """A JSON value that is strange, and good."""
    roll = random.randrange(8 if depth < 6 else 5)
    match roll:
        case 0:
            return random.choice([text for text in STRANGE_TEXTS if len(text) <= 300])
        case 1:
            return random.choice((0, -1, 2**53 + 1, 10**30, 1.5, 1e308, -0.0))
        case 2:
            return random.choice((None, True, False, [], {}))
        case 3 | 4:
            return "".join(
                chr(random.choice((random.randrange(32, 127), random.randrange(0x100, 0xD7FF)))) for _ in "abc"
            )
        case 5 | 6:
            return [strange_json(random, depth + 1) for _ in range(random.randrange(3))]
        case _:
            return {
                random.choice(STRANGE_TEXTS)[:50]: strange_json(random, depth + 1) for _ in range(random.randrange(3))
            }


def spoil_document(random: Random, document: Any) -> Any:
    """The document with something in it changed, taken away, doubled, wrapped or put in place of something else."""
    if isinstance(document, dict) and document and random.random() < 0.85:
        key = random.choice(sorted(document))
        changed = dict(document)
        match random.randrange(6):
            case 0:
                del changed[key]
            case 1:
                changed[random.choice(STRANGE_TEXTS)] = changed.pop(key)
            case 2:
                return Repeated(key, (changed.pop(key), _strange(random)), changed)
            case 3:
                changed[random.choice(("version", "inputs", "schemaVersion", "type", "runId", key.upper()))] = _strange(
                    random
                )
            case _:
                changed[key] = spoil_document(random, changed[key])
        return changed
    if isinstance(document, list) and document and random.random() < 0.85:
        at = random.randrange(len(document))
        return [*document[:at], spoil_document(random, document[at]), *document[at + 1 :]]
    if random.random() < 0.1:
        return [document, document]
    return _strange(random)


def _strange(random: Random) -> Any:
    match random.randrange(10):
        case 0 | 1 | 2:
            return random.choice(STRANGE_TEXTS)
        case 3 | 4:
            return random.choice(_STRANGE_TIMES)
        case 5:
            return strange_json(random)
        case 6 if random.random() < 0.05:
            return "x" * random.choice((255, 256 * 1024, 300 * 1024, 900 * 1024))
        case _:
            return random.choice(_STRANGE_NODES)


def spoil_bytes(random: Random, body: bytes) -> bytes:
    """The bytes with some of them changed, cut off, doubled, in another coding or another order."""
    return random.choice(_SPOILERS)(random, body)


def _flipped(random: Random, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(random.randrange(1, 4)):
        if changed:
            changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


def _put_in(random: Random, body: bytes) -> bytes:
    at = random.randrange(len(body) + 1)
    return (
        body[:at]
        + random.choice((b"\x00", b"\xff", b",", b"}", b'"', b"\\", b"\n", b"\xef\xbb\xbf", b"[["))
        + body[at:]
    )


_SPOILERS: Final[tuple[Spoiler, ...]] = (
    _flipped,
    _put_in,
    lambda random, body: body[: random.randrange(len(body) + 1)],
    lambda random, body: body[random.randrange(len(body) + 1) :],
    lambda random, body: body + body,
    lambda random, body: b"",
    lambda random, body: b"\xef\xbb\xbf" + body,
    lambda random, body: body.decode(errors="replace").encode("utf-16"),
    lambda random, body: body.decode(errors="replace").encode("utf-7"),
    lambda random, body: b" " * 70_000 + body,
    lambda random, body: gzip.compress(body, 1),
    lambda random, body: random.randbytes(random.randrange(200)),
    lambda random, body: b"{" * random.choice((10, 1_000, 100_000)),
    lambda random, body: body * (1 + 1_100_000 // max(1, len(body))) if random.random() < 0.02 else body[1:],
)
