"""Liquid templates in the parameters of steps, by python-liquid: strict, bounded, without any access."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TextIO, TypeVar
from urllib.parse import quote, urlsplit

from liquid import Environment, RenderContext
from liquid.builtin.output import Output, OutputNode
from liquid.exceptions import LiquidError
from liquid.extra import JSON
from liquid.stringify import to_liquid_string
from liquid.token import TOKEN_EXPRESSION, Token
from liquid.undefined import StrictDefaultUndefined, is_undefined

from actors.catalog.store import Json, JsonObject

__all__ = ["MAX_RENDERED_BYTES", "TemplateError", "render", "render_document", "render_url"]

MAX_RENDERED_BYTES: Final = 1024 * 1024
T = TypeVar("T")

_MAX_LOOPS: Final = 10_000
_MAX_RANGE: Final = 10_000
_SHOWN: Final = 200
# A quoted text first, so that what looks like one inside it is passed over.
_DOTTED_KEYWORD: Final = re.compile(
    r"""'[^']*'|"[^"]*"|(?<=[\w\]?-])\s*\.\s*"""
    r"(?P<keyword>and|as|blank|cols|contains|continue|else|empty|false|for|if|in|limit|nil|not|null|offset|or|required"
    r"|reversed|true|with)(?![\w?-])"
)


class TemplateError(ValueError):
    """A template cannot be rendered; the text names the step, the parameter, the template and the reason."""


class _Bounded(Environment):
    loop_iteration_limit = _MAX_LOOPS
    local_namespace_limit = MAX_RENDERED_BYTES
    output_stream_limit = MAX_RENDERED_BYTES

    def tokenizer(self) -> Callable[[str], Iterator[Token]]:
        """In Liquid any name may follow a dot; python-liquid refuses its keywords there, such as `parameters.limit`. So
        they are handed to it in brackets, which mean the same."""
        tokens = super().tokenizer()
        return lambda source: (_bracketed(token) for token in tokens(source))


def _bracketed(token: Token) -> Token:
    if token.kind != TOKEN_EXPRESSION:
        return token
    return token._replace(
        value=_DOTTED_KEYWORD.sub(lambda m: f"['{m['keyword']}']" if m["keyword"] else m[0], token.value)
    )


def _environment() -> Environment:
    environment = _Bounded(undefined=StrictDefaultUndefined)
    environment.add_filter("json", JSON())
    # They load other templates, of which there are none.
    for tag in ("include", "render"):
        del environment.tags[tag]
    return environment


class _EscapedNode(OutputNode):
    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        text = to_liquid_string(self.expression.evaluate(context), autoescape=False)
        return buffer.write(quote(str(text), safe="", errors="surrogatepass"))


class _EscapedOutput(Output):
    node_class = _EscapedNode


def _url_environment() -> Environment:
    """Whatever an expression yields becomes part of one segment or value; nothing else can write what it was given."""
    environment = _environment()
    for tag in ("echo", "cycle", "increment", "decrement", "tablerow", "ifchanged"):
        del environment.tags[tag]
    environment.add_tag(_EscapedOutput)
    return environment


_ENVIRONMENT: Final = _environment()
_URL_ENVIRONMENT: Final = _url_environment()


def render(parameters: JsonObject, namespaces: JsonObject, *, step_id: str) -> dict[str, Json]:
    """Render every text inside the parameters of a step; other values and the keys of objects are left as they are.

    A text that is exactly one `{{ expression }}` becomes the value itself, with its type; any other becomes
    text.

    Raises:
        TemplateError: a template is malformed, refers to what is not there, or grows past the bounds.
    """
    return {key: _render(value, namespaces, f"step {step_id!r}: parameters.{key}") for key, value in parameters.items()}


def render_document(value: Json, namespaces: JsonObject, where: str) -> Json:
    """As `render`, of any JSON; `where` is what errors call it. What is filled in stays within its text or value.

    Raises:
        TemplateError: as `render`.
    """
    return _render(value, namespaces, where)


def render_url(text: str, namespaces: JsonObject, where: str) -> str:
    """Fill in a URL. What expressions yield is percent-encoded, all but letters, digits and `-._~`.

    Raises:
        TemplateError: as `render`; or a segment of the path became empty, `.` or `..`, which means another path.
    """
    url = _told(where, text, lambda: _URL_ENVIRONMENT.from_string(text).render(namespaces))
    if not url.isascii() or not url.isprintable() or " " in url:
        raise TemplateError(f"{where}: template {_shown(text)}: a URL is printable ASCII without spaces")
    path = urlsplit(url).path
    segments = path.split("/")
    is_cut = path.endswith("/") and not text.partition("?")[0].endswith("/")
    if is_cut or "" in segments[1:-1] or "." in segments or ".." in segments:
        raise TemplateError(f"{where}: template {_shown(text)}: a part of the path is empty or dots: {_shown(url)}")
    return url


def _told(where: str, text: str, work: Callable[[], T]) -> T:
    """Do what a template asks for; what it raises is told as where it is and what is wrong."""
    try:
        return work()
    except LiquidError as error:
        raise TemplateError(f"{where}: template {_shown(text)}: {error.message or error}") from None
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise TemplateError(f"{where}: template {_shown(text)}: {type(error).__name__}: {error}") from None


def _render(value: Json, namespaces: JsonObject, where: str) -> Json:
    if isinstance(value, str):
        if "{{" not in value and "{%" not in value:
            return value
        return _told(where, value, lambda: _render_text(value, namespaces))
    if isinstance(value, Mapping):
        return {key: _render(child, namespaces, f"{where}.{key}") for key, child in value.items()}
    if isinstance(value, Sequence):
        return [_render(child, namespaces, f"{where}[{index}]") for index, child in enumerate(value)]
    return value


def _render_text(text: str, namespaces: JsonObject) -> Json:
    template = _ENVIRONMENT.from_string(text)
    if len(template.nodes) == 1 and type(template.nodes[0]) is OutputNode:
        context = RenderContext(template, globals=template.make_globals(namespaces))
        return _native(template.nodes[0].expression.evaluate(context))
    return template.render(namespaces)


def _native(value: object) -> Json:
    """The JSON value of an expression; what JSON lacks becomes the text that Liquid would print."""
    if is_undefined(value):
        # Its text is what raises the error that names it.
        return str(value)
    match value:
        case None | bool() | int():
            return value
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{value} is not a JSON number")
            return value
        case str():
            if len(value.encode()) > MAX_RENDERED_BYTES:
                raise ValueError(f"the value has more than {MAX_RENDERED_BYTES} bytes")
            return str(value)
        case Mapping():
            return {str(key): _native(child) for key, child in value.items()}
        case range():
            if len(value) > _MAX_RANGE:
                raise ValueError(f"the range has more than {_MAX_RANGE} numbers")
            return list(value)
        case list() | tuple():
            return [_native(child) for child in value]
        case _:
            return str(to_liquid_string(value, autoescape=False))


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
