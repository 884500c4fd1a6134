# ruff: noqa: E501 - the rows of a table are long
"""docs/moving.md: from other images to this one. Its tables are what ``postroad migrate`` knows."""

from collections.abc import Iterator

from postroad.migrate.images import IMAGES, NAMES
from postroad.migrate.move import Image, Variable

SOURCES = {
    "boky/postfix": (
        "[bokysan/docker-postfix](https://github.com/bokysan/docker-postfix): `README.md` at"
        " `11db04576ec4d7b261cf41ba8f86e5f5cce16559`, `image_root/scripts/functions.sh` at"
        " `04913669538ee64cbf1f373205f086d71459c77c`"
    ),
    "wader/postfix-relay": (
        "[wader/postfix-relay](https://github.com/wader/postfix-relay): `README.md` at"
        " `00c75806c416d9f7c804e75fc1c496954f8b8ed2`, `Dockerfile` at `01bc260b486ab4b90a301a65794b2f959ee3bf59`"
    ),
    "namshi/smtp": (
        "[namshi/docker-smtp](https://github.com/namshi/docker-smtp): `README.md` at"
        " `275f3319efb06e587f09d70998e72295316364a0`, `entrypoint.sh` at `74af8082bdad0315f53e3f90e4f08cd759e949b0`"
    ),
}

PAGE = """\
<!-- Made by `python -m dev.config_files` from what `postroad migrate` knows; do not edit. -->

# Moving from another image

`postroad migrate` reads the environment of boky/postfix, wader/postfix-relay or namshi/smtp and prints a `config.yaml` that does the
same. What has no counterpart stands in comments, and why. It changes nothing, and it prints no password.

## 1. Translate the settings

Clone this repository, and put the compose file of the old relay into a folder `old/` in the clone. There:

```sh
docker compose build
docker compose run --rm -T --no-deps postroad migrate - <old/compose.yaml >migrated.yaml
```

In place of the compose file you can give an env file, or the `docker run` command saved as a file. If the compose file takes its values from an `.env`
file, let Compose fill them in first, and translate the result: `docker compose -f old/compose.yaml config >old/whole.yaml`.

Read the comments in `migrated.yaml`, and correct the values that are marked as a guess. Then check it:

```sh
cp migrated.yaml config/config.yaml
docker compose run --rm postroad check
```

`check` lists the files that are still missing: passwords and keys.

## 2. Bring the keys along

With the old DKIM keys your DNS records stay valid. `migrated.yaml` names the file that each key was in, and the path where `key_file` expects it. Copy each
key out of the old container (`docker cp CONTAINER:PATH .`), and write each password into a file. Put these files beside the clone, in the folder
that holds it, with a compose file of your own that mounts them ([who has to be able to read them](permissions.md)). List your domains and files in place of
`example.com`'s. If your apps are in that compose file, add them here; `extends` stands in place of `include: [postroad/compose.yaml]`:

```yaml
# compose.yaml of your own, beside the clone in postroad/
services:
  postroad:
    extends: {file: postroad/compose.yaml, service: postroad}
    secrets: [dkim_example.com, smarthost_password]
volumes: {queue: {}, state: {}}
secrets:
  ca_bundle: {file: /dev/null}      # only used for building
  dkim_example.com: {file: ./dkim_example.com.private}
  smarthost_password: {file: ./smarthost_password}
```

```sh
docker compose run --rm postroad check
```

To start with new keys instead, remove `dkim` from the entry in `domains`, and publish the records that `postroad dns` prints. Then start Postroad:
`docker compose up -d --wait`.

## 3. Let the old relay deliver what it has

Set the SMTP host of your apps to `postroad`, and the port to `listeners.smtp` of `config.yaml`, or 25 if it is not there. From boky/postfix it is 587, as
your apps have it; to use port 25, remove `listeners` before you start Postroad. Leave the old container running until its queue is empty. Postroad does not
take over its queue files: no other program can read them.

## What differs whatever the settings

| | there | here |
|---|---|---|
| who may send without a password | boky: private networks. wader: everybody who reaches port 25. namshi: `eth0`'s network | the container's networks without their gateways, through which Docker lets strangers in |
| From: | any | of `domains`, as the envelope's sender is |
| DKIM | boky, wader: where it is set up. namshi: none | each domain has a key; what can't be signed is not sent |
| passwords | in the environment | in files |
| runs as | root to start with | uid 2525: it has to be able to read the files that you mount |

## The variables

For a variable that is not listed, `migrate` prints a comment. Where the third column is empty, nothing differs.

TABLES
"""


def page() -> str:
    """The page, in Markdown."""
    return PAGE.replace("TABLES", "\n\n".join(map(_section, IMAGES)))


def _section(image: Image) -> str:
    short = next(name for name, each in NAMES.items() if each is image)
    head = [
        f"### {image.name}",
        "",
        f"As `--from {short}`. Read in {SOURCES[image.name]}.",
        "",
        "| variable | ours | what differs, or why there is none |",
        "|---|---|---|",
    ]
    return "\n".join([*head, *_rows(image.variables)])


def _rows(variables: tuple[Variable, ...]) -> Iterator[str]:
    for each in variables:
        ours = ", ".join(f"`{key}`" for key in each.keys) or "–"  # noqa: RUF001
        yield f"| `{each.name}` | {ours} | {each.note} |"
