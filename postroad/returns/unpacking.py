"""Reports unpacked: gzip, zip or as they are, within bounds. Pure.

A file of a few kilobytes can hold gigabytes (a zip bomb): no more is unpacked than a bound, whatever the file says of
itself, and no file within a file.
"""

import io
import zipfile
import zlib

from postroad.returns.found import UnreadableError

LARGEST = 8 * 2**20
"""Octets of a report, unpacked. Large providers' for a busy domain have about one."""
MOST_RATIO = 200
"""Times its packed size that a report may have: XML packs to a twentieth, a bomb to a thousandth."""
MOST_FILES = 5
"""Files in an archive, of which the first report is read."""

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_ENTRY = b"PK\x01\x02"  # of the archive's directory
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})  # others unpack a piece whole, however large


def unpack(content: bytes, suffixes: tuple[str, ...] = (".xml", ".json")) -> bytes:
    """The report in a file.

    Args:
        content: the file.
        suffixes: how the name of a report in an archive ends.

    Raises:
        UnreadableError: it is broken, encrypted, an archive without a report, or larger than ``LARGEST``.
    """
    if content.startswith(_GZIP):
        return _gzip(content)
    if content.startswith(_ZIP):
        return _zip(content, suffixes)
    if len(content) > LARGEST:
        raise UnreadableError(f"the report has more than {LARGEST} octets")
    return content


def _bound(packed: int) -> int:
    return min(LARGEST, max(64 * 1024, packed * MOST_RATIO))


def _gzip(content: bytes) -> bytes:
    bound = _bound(len(content))
    inflate = zlib.decompressobj(wbits=31)
    try:
        found = inflate.decompress(content, bound + 1)
    except zlib.error as error:
        raise UnreadableError("the gzip file is broken") from error
    if len(found) > bound:
        raise UnreadableError(f"the report has more than {bound} octets, unpacked from {len(content)}")
    if not inflate.eof:
        raise UnreadableError("the gzip file is cut off")
    return found


def _zip(content: bytes, suffixes: tuple[str, ...]) -> bytes:
    if content.count(_ENTRY) > MOST_FILES * 2:  # before the directory is read
        raise UnreadableError(f"the archive has more than {MOST_FILES} files")
    bound = _bound(len(content))
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open(_chosen(archive, suffixes)) as file:
            found = file.read(bound + 1)
    except UnreadableError:
        raise
    except Exception as error:  # broken in one of many ways, or encrypted
        raise UnreadableError("the zip archive is broken") from error
    if len(found) > bound:
        raise UnreadableError(f"the report has more than {bound} octets, unpacked from {len(content)}")
    return found


def _chosen(archive: zipfile.ZipFile, suffixes: tuple[str, ...]) -> zipfile.ZipInfo:
    files = [each for each in archive.infolist() if not each.is_dir()]
    if len(files) > MOST_FILES:
        raise UnreadableError(f"the archive has more than {MOST_FILES} files")
    chosen = next((each for each in files if each.filename.lower().endswith(suffixes)), None)
    if chosen is None:
        raise UnreadableError("the archive has no report")
    if chosen.compress_type not in _METHODS:
        raise UnreadableError("the archive is packed by another method than deflate")
    return chosen
