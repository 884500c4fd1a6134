"""What the image holds, as a CycloneDX 1.6 bill of materials: ``python -m dev.sbom postroad:latest > FILE``.

Debian's packages are read from the image's own lists, dpkg's and those in ``status.d``, Python's from the metadata in
its virtual environment, with the addresses and hashes that ``uv.lock`` has. The same image gives the same bytes.
"""

import io
import json
import re
import subprocess
import sys
import tarfile
import tomllib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.parser import HeaderParser
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from cyclonedx.contrib.hash.factories import HashTypeFactory
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

LOCK = Path("uv.lock")
SCHEMA = SchemaVersion.V1_6
SYSTEM = ("etc/os-release", "usr/lib/os-release", "var/lib/dpkg/status", "var/lib/dpkg/status.d/*")
PYTHON = "opt/postroad/venv/lib/python3.*/site-packages/*.dist-info/METADATA"


@dataclass(frozen=True)
class Image:
    """What of an image the bill is made from.

    Attributes:
        id: ``sha256:`` and its digest.
        labels: of its configuration.
        files: path without the leading slash to contents, of those that ``SYSTEM`` and ``PYTHON`` match.
    """

    id: str
    labels: Mapping[str, str]
    files: Mapping[str, str] = field(repr=False)

    def matching(self, *patterns: str) -> Iterator[str]:
        """Give the contents of the files whose paths match, in the paths' order."""
        return (text for path, text in sorted(self.files.items()) if any(fnmatch(path, each) for each in patterns))


def read_image(name: str) -> Image:
    """Read a local image's lists out of Docker.

    Raises:
        subprocess.CalledProcessError: Docker does not have it; what Docker said is on standard error.
    """

    def docker(*words: str) -> bytes:
        return subprocess.run(["docker", *words], stdout=subprocess.PIPE, check=True).stdout

    inspected = json.loads(docker("image", "inspect", name))[0]
    platform = f"--platform={inspected['Os']}/{inspected['Architecture']}"  # it may be another than this host's
    container = docker("create", platform, "--network=none", name).decode().strip()
    try:
        archive = docker("export", container)
    finally:
        docker("rm", "--volumes", container)
    files = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            if member.isfile() and any(fnmatch(member.name, each) for each in (*SYSTEM, PYTHON)):
                content = tar.extractfile(member)
                assert content
                files[member.name] = content.read().decode()
    return Image(inspected["Id"], inspected["Config"]["Labels"] or {}, files)


def stanzas(texts: Iterable[str]) -> Iterator[dict[str, str]]:
    """Split files of dpkg's format (deb822, Debian Policy 5.1) into packages; folded lines are left out."""
    for text in texts:
        for paragraph in re.split(r"\n\s*\n", text.strip()):
            fields = dict(re.findall(r"^([\w-]+):[ \t]*(.*)$", paragraph, re.MULTILINE))
            if "Package" in fields:
                yield fields


def _library(url: PackageURL, **more: Any) -> Component:
    """A package as a component, which goes by its URL."""
    text = url.to_string()
    return Component(type=ComponentType.LIBRARY, name=url.name, version=url.version, purl=url, bom_ref=text, **more)


def debian_packages(image: Image) -> Iterator[Component]:
    """Describe what dpkg's lists say is in the image."""
    release = dict(re.findall(r'^(\w+)="?(.*?)"?$', "\n".join(image.matching("*/os-release")), re.MULTILINE))
    distribution = f"{release['ID']}-{release['VERSION_ID']}"
    for package in stanzas(image.matching("var/lib/dpkg/status", "var/lib/dpkg/status.d/*")):
        # one whose binaries were unpacked without dpkg has no Status
        if not package.get("Status", "install ok installed").endswith(" installed"):
            continue
        name, version = package["Package"], package["Version"]
        # "Source: name (version)", where these are not the package's own; vulnerabilities are filed by it
        source = re.match(r"(\S+)(?: \((.*)\))?", package.get("Source", name))
        assert source
        upstream = source[1] + (f"@{source[2]}" if source[2] else "")
        url = PackageURL(
            "deb", release["ID"], name, version,
            {"arch": package["Architecture"], "distro": distribution, "upstream": upstream if upstream != name else ""},
        )  # fmt: skip
        yield _library(
            url,
            properties=[Property(name="debian:source", value=f"{source[1]} {source[2] or version}")],
        )


def python_packages(image: Image, lock: Mapping[str, Any]) -> Iterator[Component]:
    """Describe what is in the image's virtual environment, with the files of it that the lock accepts.

    Raises:
        KeyError: a package is in the image that the lock, ``uv.lock`` read, does not have in this version.
    """
    locked = {(package["name"], package["version"]): package for package in lock["package"]}
    for text in image.matching(PYTHON):
        metadata = HeaderParser().parsestr(text)
        name, version = re.sub(r"[-_.]+", "-", metadata["Name"]).lower(), metadata["Version"]
        package = locked[name, version]
        url = PackageURL("pypi", None, name, version)
        said = metadata["License-Expression"] or metadata["License"] or ""
        # older packages put a licence's whole text there
        licence = LicenseFactory().make_from_string(said) if said and "\n" not in said and len(said) < 80 else None
        yield _library(
            url,
            licenses=[licence] if licence else [],
            external_references=[
                ExternalReference(
                    type=ExternalReferenceType.DISTRIBUTION,
                    url=XsUri(file["url"]),
                    hashes=[HashTypeFactory().from_composite_str(file["hash"])],
                )
                for file in [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
            ],
        )


def make_bom(image: Image, lock: Mapping[str, Any]) -> Bom:
    """Make the bill; its time is the image's ``created`` label's, or the epoch."""
    labels = image.labels
    root = Component(
        type=ComponentType.CONTAINER,
        name="postroad",
        version=labels.get("org.opencontainers.image.version") or None,
        bom_ref="postroad",
        licenses=[LicenseExpression(labels["org.opencontainers.image.licenses"])],
        hashes=[HashTypeFactory().from_composite_str(image.id)],
        properties=[Property(name=name, value=value) for name, value in labels.items() if value],
    )
    parts = [*debian_packages(image), *python_packages(image, lock)]
    bom = Bom(components=parts, serial_number=uuid.uuid5(uuid.NAMESPACE_OID, image.id))
    bom.metadata.component = root
    created = labels.get("org.opencontainers.image.created")
    bom.metadata.timestamp = datetime.fromisoformat(created) if created else datetime.fromtimestamp(0, UTC)
    bom.register_dependency(root, parts)
    return bom


def to_json(bom: Bom) -> str:
    """Write the bill as CycloneDX JSON."""
    return make_outputter(bom, OutputFormat.JSON, SCHEMA).output_as_string(indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(to_json(make_bom(read_image(sys.argv[1]), tomllib.loads(LOCK.read_text()))))
