"""Forms as SDKs send them: ``multipart/form-data`` (RFC 7578) and ``application/x-www-form-urlencoded``."""

from dataclasses import dataclass
from urllib.parse import parse_qsl

from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header

MOST = 3000
"""Fields of a form."""


class FormError(ValueError):
    """It is no form."""


@dataclass(frozen=True)
class FormField:
    """A field of a form.

    Attributes:
        name: may come several times.
        content: its octets.
        filename: of a file; empty: it is none.
        type: the media type that a file is said to have.
    """

    name: str
    content: bytes
    filename: str = ""
    type: str = ""

    @property
    def text(self) -> str:
        """Its content as text.

        Raises:
            FormError: it is not UTF-8.
        """
        try:
            return self.content.decode()
        except UnicodeDecodeError:
            raise FormError(f"{self.name} is not in UTF-8") from None


def read(content_type: str, body: bytes) -> list[FormField]:
    """The fields of a form, in their order.

    Raises:
        FormError: it is none, or has too many fields.
    """
    kind, options = parse_options_header(content_type)
    if kind == b"application/x-www-form-urlencoded":
        return _urlencoded(body)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 200:
        raise FormError("the body has to be multipart/form-data or application/x-www-form-urlencoded")
    return _Multipart(boundary).read(body)


def _urlencoded(body: bytes) -> list[FormField]:
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST)
    except ValueError:
        raise FormError(f"the form is no application/x-www-form-urlencoded with {MOST} fields at most") from None
    return [FormField(name, value.encode()) for name, value in pairs]


class _Multipart:
    """Collects the parts of a body."""

    def __init__(self, boundary: bytes) -> None:
        self._fields: list[FormField] = []
        self._content, self._name, self._value = bytearray(), bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._whole = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._header,
                "on_part_data": lambda data, start, end: self._content.extend(data[start:end]),
                "on_part_end": self._end,
                "on_end": self._all,
            },
        )

    def read(self, body: bytes) -> list[FormField]:
        """The fields."""
        try:
            self._parser.write(body)
            self._parser.finalize()
        except MultipartParseError:
            raise FormError("the body is no multipart/form-data") from None
        if not self._whole:
            raise FormError("the last boundary of the body is missing")
        return self._fields

    def _begin(self) -> None:
        if len(self._fields) == MOST:
            raise FormError(f"the form has more than {MOST} fields")
        self._headers = {}
        self._content = bytearray()

    def _header(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name, self._value = bytearray(), bytearray()

    def _end(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        try:
            name, filename = options.get(b"name", b"").decode(), options.get(b"filename", b"").decode()
        except UnicodeDecodeError:
            raise FormError("a name in the form is not in UTF-8") from None
        if kind != b"form-data" or not name:
            raise FormError("a part of the form has no name")
        media = self._headers.get(b"content-type", b"").decode("latin-1")
        self._fields.append(FormField(name, bytes(self._content), filename, media))

    def _all(self) -> None:
        self._whole = True
