"""The bill of materials: what of dpkg's and Python's lists gets into it, in CycloneDX's own schema."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cyclonedx.validation.json import JsonStrictValidator

from dev.sbom import SCHEMA, Image, make_bom, to_json

STATUS = """Package: libssl3t64
Status: install ok installed
Architecture: amd64
Source: openssl
Version: 3.5.1-1+deb13u1
Description: a library
 Package: not-a-package
 .
 Version: 1

Package: perl-base
Status: deinstall ok config-files
Architecture: amd64
Version: 5.40.1-6

Package: libdb5.3t64
Status: install ok installed
Architecture: amd64
Source: db5.3 (5.3.28+dfsg2-9)
Version: 5.3.28+dfsg2-9+b1
"""
UNPACKED = "Package: sendmail-bin\nArchitecture: amd64\nSource: sendmail (8.18.1-6)\nVersion: 8.18.1-6+b1\n"
SITE = "opt/postroad/venv/lib/python3.13/site-packages"
IMAGE = Image(
    "sha256:" + "0" * 64,
    {
        "org.opencontainers.image.version": "1.2.3",
        "org.opencontainers.image.licenses": "Apache-2.0 AND BSD-3-Clause",
        "org.opencontainers.image.created": "2026-01-02T03:04:05Z",
        "org.opencontainers.image.base.digest": "",
    },
    {
        "usr/lib/os-release": 'ID=debian\nVERSION_ID="13"\n',
        "var/lib/dpkg/status": STATUS,
        "var/lib/dpkg/status.d/sendmail-bin": UNPACKED,
        f"{SITE}/pydantic_core-2.1.dist-info/METADATA": "Name: pydantic_core\nVersion: 2.1\nLicense-Expression: MIT\n\n",
    },
)
HASH = "ab" * 32
LOCK: dict[str, Any] = {
    "package": [
        {
            "name": "pydantic-core",
            "version": "2.1",
            "wheels": [{"url": "https://files/a.whl", "hash": f"sha256:{HASH}"}],
        },
        {"name": "pytest", "version": "8"},
    ]
}


def bill() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(to_json(make_bom(IMAGE, LOCK)))
    return made


def test_it_is_what_the_schema_wants() -> None:
    assert JsonStrictValidator(SCHEMA).validate_str(to_json(make_bom(IMAGE, LOCK))) is None
    damaged = bill()
    damaged["components"][0]["type"] = "nothing"
    assert JsonStrictValidator(SCHEMA).validate_str(json.dumps(damaged)) is not None


def test_it_lists_what_is_installed_or_unpacked_and_nothing_else() -> None:
    assert {part["purl"] for part in bill()["components"]} == {
        "pkg:deb/debian/libssl3t64@3.5.1-1%2Bdeb13u1?arch=amd64&distro=debian-13&upstream=openssl",
        "pkg:deb/debian/libdb5.3t64@5.3.28%2Bdfsg2-9%2Bb1?arch=amd64&distro=debian-13&upstream=db5.3%405.3.28%2Bdfsg2-9",
        "pkg:deb/debian/sendmail-bin@8.18.1-6%2Bb1?arch=amd64&distro=debian-13&upstream=sendmail%408.18.1-6",
        "pkg:pypi/pydantic-core@2.1",
    }


def test_a_python_package_has_its_licence_and_the_locked_files() -> None:
    (package,) = (part for part in bill()["components"] if part["name"] == "pydantic-core")
    assert package["licenses"] == [{"license": {"id": "MIT"}}]
    assert package["externalReferences"] == [
        {"type": "distribution", "url": "https://files/a.whl", "hashes": [{"alg": "SHA-256", "content": HASH}]}
    ]


def test_it_says_which_image_it_is_of_and_is_the_same_each_time() -> None:
    metadata = bill()["metadata"]
    assert metadata["component"]["version"] == "1.2.3"
    assert metadata["component"]["hashes"] == [{"alg": "SHA-256", "content": "0" * 64}]
    assert datetime.fromisoformat(metadata["timestamp"]) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert to_json(make_bom(IMAGE, LOCK)) == to_json(make_bom(IMAGE, LOCK))


def test_a_package_that_the_lock_does_not_have_is_an_error() -> None:
    with pytest.raises(KeyError, match="pydantic-core"):
        make_bom(IMAGE, {"package": []})
