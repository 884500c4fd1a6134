"""Messages on their way out: set aside before they are offered, deleted when the other relay has them.

sendmail does not see what is set aside. So a message is never delivered here after another relay may have taken it,
whatever is killed: it stays aside until that relay says whether it has it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from postroad import system
from postroad.evacuation import places

KIND = "ef"
"""How the name of a control file begins that is set aside: ``qf``, were it in the queue."""
GONE = "gf"
"""Likewise of one that the other relay has, and has not been told yet that it is deleted here."""
RELAY = "relay-"
"""How the names of the folders begin, one for each relay; its id follows. By itself that could be a control file's."""
HOST = "host"
"""The file in a receiver's folder that says where it was reached."""


@dataclass(frozen=True)
class Aside:
    """A message that is set aside.

    Attributes:
        queue_id: sendmail's id.
        receiver: the id of the queue that it was offered to.
        path: its control file.
        home: the folder in the queue that it is from.
    """

    queue_id: str
    receiver: str
    path: Path
    home: Path

    @property
    def body(self) -> Path:
        """Its body's file."""
        return self.path.with_name(f"df{self.queue_id}")

    @property
    def group(self) -> str:
        """The name of the folder of a route with limits that it is from; empty: of none."""
        return self.home.name if places.GROUP.fullmatch(self.home.name) else ""


class Leaving:
    """The messages of a queue that are set aside."""

    def __init__(self, root: Path) -> None:
        """Of the queue in this folder; nothing is made before it is needed."""
        self._root = root
        self._top = root / places.LEAVING

    def set_aside(self, control: Path, body: Path, receiver: str, host: str) -> Aside:
        """Take a message out of the queue before it is offered; the caller holds its lock.

        The body has both names until the control file has moved: at no moment is a control file without its body.

        Raises:
            OSError: its files can't be moved; it stays in the queue, or is aside.
        """
        home = control.parent
        folder = self._folder(receiver) / home.relative_to(self._root)
        places.folder(folder, self._root)
        if not (note := self._folder(receiver) / HOST).exists() or note.read_text() != host:
            system.write(note, host)
        aside = Aside(control.name[2:], receiver, folder / f"{KIND}{control.name[2:]}", home)
        system.remove(aside.body)
        aside.body.hardlink_to(body)
        places.save(folder)
        control.rename(aside.path)
        places.save(folder)
        places.save(home)
        system.remove(body)
        return aside

    def messages(self, kind: str = KIND) -> Iterator[Aside]:
        """The messages that are aside; or, of the kind ``GONE``, those that need only be forgotten."""
        for folder in self._folders():
            for path in sorted(folder.rglob(f"{kind}*")):
                home = self._root / path.parent.relative_to(folder)
                yield Aside(path.name[2:], folder.name.removeprefix(RELAY), path, home)

    def tidy(self) -> None:
        """Remove what belongs to no message that is aside; nobody may be setting one aside meanwhile."""
        wanted = {each.receiver for kind in (KIND, GONE) for each in self.messages(kind)}
        for folder in self._folders():
            if folder.name.removeprefix(RELAY) not in wanted:
                system.remove(folder)

    def _folder(self, receiver: str) -> Path:
        return self._top / f"{RELAY}{receiver}"

    def _folders(self) -> list[Path]:
        return sorted(self._top.glob(f"{RELAY}*"))

    def host(self, receiver: str) -> str:
        """Where that relay was reached; empty if it is not known."""
        try:
            return (self._folder(receiver) / HOST).read_text()
        except OSError:
            return ""

    def gone(self, aside: Aside) -> Aside:
        """Delete a message that the other relay has: nothing brings it back when this returns. ``forget`` follows."""
        path = aside.path.with_name(f"{GONE}{aside.queue_id}")
        aside.path.rename(path)
        places.save(path.parent)
        return replace(aside, path=path)

    def forget(self, aside: Aside) -> None:
        """Remove what is left of a message that has gone, when the other relay has been told so."""
        system.remove(aside.body)
        system.remove(aside.home / aside.body.name)  # where a kill came between the two of set_aside()
        system.remove(aside.path)

    def put_back(self, aside: Aside) -> None:
        """Put a message into the queue again: the other relay does not have it, and won't."""
        places.folder(aside.home, self._root)
        body = aside.home / aside.body.name
        if not body.exists():
            body.hardlink_to(aside.body)
        places.save(aside.home)
        aside.path.rename(aside.home / f"qf{aside.queue_id}")
        places.save(aside.home)
        places.save(aside.path.parent)
        system.remove(aside.body)
