"""Watches what a process does to the files below one folder: every write, truncation, sync, name given, moved or taken, in order.

Functions of `os` and `io.open` are replaced while it watches, and Parquet goes through a Python file. Nothing can be left out unseen: what
the noted steps make of the folder as it was is compared with what is there (`Trace.check`).
"""

from __future__ import annotations

import fcntl
import io
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import pyarrow.parquet as pq

Tree = dict[str, bytes | None]  # by path relative to the folder: the bytes of a file, None of a folder


class Write(NamedTuple):
    """Bytes of a file."""

    node: int
    at: int
    data: bytes


class Resize(NamedTuple):
    """A file is cut, or grows by zeros."""

    node: int
    size: int


class Link(NamedTuple):
    """A name for a new file or folder, or a second one for a file."""

    folder: int
    name: str
    node: int
    is_folder: bool = False


class Unlink(NamedTuple):
    """A name that goes."""

    folder: int
    name: str


class Move(NamedTuple):
    """Another name, in place of what had it."""

    folder: int
    name: str
    to: int
    new: str
    node: int


class Sync(NamedTuple):
    """The bytes of a file or the names in a folder are on the disk."""

    node: int


Step = Write | Resize | Link | Unlink | Move | Sync
Data = Write | Resize


class Nodes:
    """Files and folders by number; 0 is the folder that is watched."""

    def __init__(self) -> None:
        self.files: dict[int, bytes] = {}
        self.folders: dict[int, dict[str, int]] = {0: {}}

    def copy(self) -> Nodes:
        """Another one like it."""
        made = Nodes()
        made.files = dict(self.files)
        made.folders = {node: dict(names) for node, names in self.folders.items()}
        return made

    def take(self, step: Step) -> None:
        """What a step makes of it; a name that a lost step never gave is not missed."""
        match step:
            case Write(node, at, data):
                old = self.files.get(node, b"")
                self.files[node] = old[:at].ljust(at, b"\0") + data + old[at + len(data) :]
            case Resize(node, size):
                self.files[node] = self.files.get(node, b"")[:size].ljust(size, b"\0")
            case Link(folder, name, node, _):
                self.know(step)
                self.folders[folder][name] = node
            case Unlink(folder, name):
                self.folders[folder].pop(name, None)
            case Move(folder, name, to, new, node):
                self.folders[folder].pop(name, None)
                self.folders[to][new] = node
            case Sync():
                pass

    def know(self, step: Link) -> None:
        """What a name is given to is there, with its name or without."""
        if step.is_folder:
            self.folders.setdefault(step.node, {})
        else:
            self.files.setdefault(step.node, b"")

    def tree(self) -> Tree:
        """What can be reached by its name."""
        found: Tree = {}
        waiting = [("", 0)]
        while waiting:
            path, folder = waiting.pop()
            for name, node in self.folders[folder].items():
                where = f"{path}{name}"
                if node in self.folders:
                    found[where] = None
                    waiting.append((f"{where}/", node))
                else:
                    found[where] = self.files[node]
        return found


class Trace:
    """What was done.

    Attributes:
        start: the folder as it was, all of it on the disk.
        steps: what was done to it.
        promises: before each step, and at the end, the last seq that had been said to be on the disk, and the last that was said to be
            written.
        promise: says both; called at each step.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.start = Nodes()
        self.steps: list[Step] = []
        self.promises: list[tuple[int, int]] = []
        self.promise: Callable[[], tuple[int, int]] = lambda: (-1, -1)
        self._nodes: dict[tuple[int, int], int] = {_key(root.stat()): 0}
        self._next = 1
        self._lock = threading.RLock()
        self._read(root, 0)

    def follow(self, before: Trace, count: int) -> None:
        """Go on where another one was after so many steps: what it had not synced then is not synced here."""
        self.start, self.steps, self.promises = before.start, before.steps[:count], before.promises[:count]
        self._next = before._next
        nodes = self.start.copy()
        for step in self.steps:
            nodes.take(step)
        self._nodes = {_key(self.root.stat()): 0}
        waiting = [(self.root, 0)]
        while waiting:
            path, folder = waiting.pop()
            for name, node in nodes.folders[folder].items():
                self._nodes[_key((path / name).stat())] = node
                if node in nodes.folders:
                    waiting.append((path / name, node))

    def _read(self, folder: Path, node: int) -> None:
        for path in sorted(folder.iterdir()):
            mine = self._new(path.stat())
            self.start.folders[node][path.name] = mine
            if path.is_dir():
                self.start.folders[mine] = {}
                self._read(path, mine)
            else:
                self.start.files[mine] = path.read_bytes()

    def _new(self, found: os.stat_result) -> int:
        node = self._nodes[_key(found)] = self._next
        self._next += 1
        return node

    def check(self) -> None:
        """Compare what the steps make with what is there: a step that was not seen would show."""
        nodes = self.start.copy()
        for step in self.steps:
            nodes.take(step)
        assert nodes.tree() == read_tree(self.root), "something was done that was not seen"

    @contextmanager
    def step(self) -> Iterator[list[Step]]:
        """One operation under way: the caller adds what it was, once it is done."""
        with self._lock:
            said, made = self.promise(), list[Step]()
            yield made
            self.steps += made
            self.promises += [said] * len(made)

    def node(self, where: int | str | os.PathLike[str]) -> int | None:
        """The number of a file or folder, None when it is none of the watched ones."""
        try:
            return self._nodes.get(_key(os.stat(where)))  # noqa: PTH116  # a handle, too
        except OSError:
            return None

    def place(self, path: Any, folder: int | None) -> tuple[int, str] | None:
        """Folder and name of a path, None outside of what is watched."""
        path = os.fspath(path)
        head, name = os.path.split(path)
        where = folder if folder is not None and not head else head or "."
        node = self.node(where)
        return None if node is None else (node, name)

    def named(self, place: tuple[int, str], found: os.stat_result) -> Link:
        """The step that gave a new file or folder its name."""
        return Link(*place, self._new(found), stat.S_ISDIR(found.st_mode))


def _key(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def read_tree(root: Path) -> Tree:
    """What is in a folder."""
    return {path.relative_to(root).as_posix(): None if path.is_dir() else path.read_bytes() for path in root.rglob("*")}


def write_tree(tree: Tree, root: Path) -> None:
    """Make a folder of it."""
    root.mkdir()
    for path in sorted(tree):
        data = tree[path]
        if data is None:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(data)


class _Watched(io.FileIO):
    """A file whose every write goes through `os`."""

    def write(self, data: Any, /) -> int:
        return os.write(self.fileno(), data)

    def truncate(self, size: int | None = None, /) -> int:
        size = self.tell() if size is None else size
        os.ftruncate(self.fileno(), size)
        return size


class _Parquet(pq.ParquetWriter):  # type: ignore[misc]  # pyarrow has no types
    """A Parquet writer whose bytes go through Python."""

    def __init__(self, where: str, *arguments: Any, **options: Any) -> None:
        self._python = Path(where).open("wb", buffering=0)  # noqa: SIM115  # closed by close
        super().__init__(self._python, *arguments, **options)

    def close(self) -> Self:
        super().close()
        self._python.close()
        return self


class _Calls:
    """The functions that stand in the place of the real ones."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._real = {name: getattr(os, name) for name in self.NAMES}
        self._open = io.open

    NAMES = (
        *("open", "write", "fsync", "fdatasync", "ftruncate", "truncate", "posix_fallocate"),
        *("rename", "replace", "link", "unlink", "remove", "mkdir", "rmdir"),
    )

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        """Open, which may give a name or cut a file."""
        with self._trace.step() as made:
            place = self._trace.place(path, dir_fd) if flags & (os.O_CREAT | os.O_TRUNC) else None
            there = None if place is None else self._trace.node(path)
            handle: int = self._real["open"](path, flags, mode, dir_fd=dir_fd)
            if place is not None and there is None:
                made.append(self._trace.named(place, os.fstat(handle)))
            elif there is not None and flags & os.O_TRUNC:
                made.append(Resize(there, 0))
            return handle

    def write(self, handle: int, data: Any) -> int:
        """Write."""
        with self._trace.step() as made:
            node = self._trace.node(handle)
            if node is None:
                return int(self._real["write"](handle, data))
            is_append = fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_APPEND
            at = os.fstat(handle).st_size if is_append else os.lseek(handle, 0, os.SEEK_CUR)
            done = int(self._real["write"](handle, data))
            made.append(Write(node, at, bytes(memoryview(data).cast("B")[:done])))
            return done

    def fsync(self, handle: int) -> None:
        """Sync."""
        self._sync("fsync", handle)

    def fdatasync(self, handle: int) -> None:
        """Sync the bytes."""
        self._sync("fdatasync", handle)

    def _sync(self, name: str, handle: int) -> None:
        with self._trace.step() as made:
            self._real[name](handle)
            node = self._trace.node(handle)
            if node is not None:
                made.append(Sync(node))

    def ftruncate(self, handle: int, size: int) -> None:
        """Cut."""
        self._resize("ftruncate", handle, size)

    def truncate(self, path: Any, size: int) -> None:
        """Cut."""
        self._resize("truncate", path, size)

    def _resize(self, name: str, where: Any, size: int) -> None:
        with self._trace.step() as made:
            self._real[name](where, size)
            node = self._trace.node(where)
            if node is not None:
                made.append(Resize(node, size))

    def posix_fallocate(self, handle: int, at: int, size: int) -> None:
        """Grow."""
        with self._trace.step() as made:
            before = os.fstat(handle).st_size
            self._real["posix_fallocate"](handle, at, size)
            node = self._trace.node(handle)
            if node is not None and at + size > before:
                made.append(Resize(node, at + size))

    def rename(self, old: Any, new: Any, **folders: Any) -> None:
        """Move."""
        assert not folders, "not used by a log"
        with self._trace.step() as made:
            source, target, node = self._trace.place(old, None), self._trace.place(new, None), self._trace.node(old)
            self._real["rename"](old, new)
            if source is not None and target is not None and node is not None:
                made.append(Move(*source, *target, node))

    replace = rename

    def link(self, old: Any, new: Any, **options: Any) -> None:
        """Name once more."""
        with self._trace.step() as made:
            place, node = self._trace.place(new, None), self._trace.node(old)
            self._real["link"](old, new, **options)
            if place is not None and node is not None:
                made.append(Link(*place, node))

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        """Take a name."""
        self._remove("unlink", path, dir_fd)

    remove = unlink

    def rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        """Take a folder."""
        self._remove("rmdir", path, dir_fd)

    def _remove(self, name: str, path: Any, folder: int | None) -> None:
        with self._trace.step() as made:
            place = self._trace.place(path, folder)
            self._real[name](path, dir_fd=folder)
            if place is not None:
                made.append(Unlink(*place))

    def mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        """Make a folder."""
        with self._trace.step() as made:
            place = self._trace.place(path, dir_fd)
            self._real["mkdir"](path, mode, dir_fd=dir_fd)
            if place is not None:
                made.append(self._trace.named(place, os.stat(path, dir_fd=dir_fd)))

    def open_file(self, file: Any, mode: str = "r", buffering: int = -1, *more: Any, **options: Any) -> Any:
        """`open`: bytes that are written to a watched file go through `os`."""
        if isinstance(file, int) or not set(mode) & set("wax+") or self._trace.place(file, None) is None:
            return self._open(file, mode, buffering, *more, **options)
        assert "b" in mode, "a log has no text"
        raw = _Watched(file, mode.replace("b", ""), opener=lambda path, flags: os.open(path, flags, 0o666))
        if buffering == 0:
            return raw
        return io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)


@contextmanager
def watched(root: Path) -> Iterator[Trace]:
    """Watch a folder; the trace is checked at the end, if that is reached."""
    trace = Trace(root)
    calls = _Calls(trace)
    real: list[tuple[Any, str, Any]] = [(os, name, getattr(os, name)) for name in calls.NAMES]
    real += [(io, "open", io.open), (pq, "ParquetWriter", pq.ParquetWriter)]
    try:
        for name in calls.NAMES:
            setattr(os, name, getattr(calls, name))
        io.open = calls.open_file
        pq.ParquetWriter = _Parquet
        yield trace
    finally:
        for module, name, function in real:
            setattr(module, name, function)
    trace.promises.append(trace.promise())
    trace.check()
