"""Files appear whole or not at all; tensors come back as they were or not at all."""

import errno
import hashlib
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from dvae import provenance, storage
from dvae.errors import DataError, DvaeError, ResultError
from dvae.results import store
from dvae.results.store import Store
from dvae.storage import atomic_path, digest_path, has_digest, results_folder, write_digest
from dvae.tensors import read_tensors, tensors_digest, write_tensors


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_where_results_lie(root, tmp_path, monkeypatch):
    """Those named, else those of the checkout, else those that came with an installed package."""
    monkeypatch.delenv("DVAE_RESULTS", raising=False)
    assert results_folder() == root / "results"
    # installed into a folder of a project with a pyproject.toml of its own
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(storage, "PACKAGED", tmp_path / "libraries" / "dvae" / "stored")
    assert results_folder() == tmp_path / "libraries" / "dvae" / "stored"
    with pytest.raises(ResultError, match="DVAE_RESULTS to the folder 'results'"):
        Store.default().load("darcy")
    monkeypatch.setenv("DVAE_RESULTS", str(tmp_path / "named"))
    assert results_folder() == tmp_path / "named"


def test_an_installed_package_names_no_commit_of_the_repository_around_it(tmp_path, monkeypatch):
    named = provenance._commit.__wrapped__  # without its cache
    assert named() != "not in a git checkout"
    monkeypatch.setattr(storage, "PACKAGED", tmp_path / "libraries" / "dvae" / "stored")
    assert named() == "not in a git checkout"


def test_results_that_came_with_the_package_are_not_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "PACKAGED", tmp_path)
    with pytest.raises(ResultError, match="came with dvae and are not changed; name a folder"):
        Store(tmp_path).set_aside("darcy", "smoke", lambda path: True)
    assert names(tmp_path) == []


def test_the_file_appears_at_the_end(tmp_path):
    target = tmp_path / "new" / "file.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == target.parent and not target.exists()
    assert target.read_text() == "whole"
    assert names(target.parent) == ["file.txt"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o644


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_in_the_middle_leaves_what_was_there(tmp_path, error):
    target = tmp_path / "file.txt"

    def write_half():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert names(tmp_path) == []
    target.write_text("old")
    with pytest.raises(error):
        write_half()
    assert names(tmp_path) == ["file.txt"] and target.read_text() == "old"


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    target = tmp_path / "file.txt"
    target.write_text("old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DvaeError, match=f"{target}: No space left"), atomic_path(target) as t:
            t.write_text("new")
    assert names(tmp_path) == ["file.txt"] and target.read_text() == "old"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DvaeError, match="cannot write"), atomic_path(tmp_path / "file" / "x"):
        pass


TENSORS = {
    "b": torch.arange(6.0).reshape(2, 3).T,
    "a": torch.tensor([True, False]),
    "empty": torch.zeros(0, 3, dtype=torch.float64),
    "scalar": torch.tensor(7),
}


def test_tensors_come_back(tmp_path):
    write_tensors(tmp_path / "t", TENSORS, {"step": "3"})
    tensors, metadata = read_tensors(tmp_path / "t")
    assert metadata == {"step": "3"} and set(tensors) == set(TENSORS)
    for name, value in TENSORS.items():
        assert torch.equal(tensors[name], value) and tensors[name].dtype == value.dtype


def test_the_digest_sees_everything():
    start = tensors_digest(TENSORS, {"step": "3"})
    assert tensors_digest(dict(reversed(TENSORS.items())), {"step": "3"}) == start
    others = [
        tensors_digest(TENSORS, {"step": "4"}),
        tensors_digest(TENSORS | {"b": TENSORS["b"].T}, {"step": "3"}),
        tensors_digest(TENSORS | {"b": TENSORS["b"] + 1}, {"step": "3"}),
        tensors_digest(TENSORS | {"scalar": torch.tensor(7.0)}, {"step": "3"}),
        tensors_digest({k: v for k, v in TENSORS.items() if k != "empty"}, {"step": "3"}),
    ]
    assert len({start, *others}) == 6


def test_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "t"
    write_tensors(path, TENSORS, {"step": "3"})
    good = path.read_bytes()
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= 1 << (place % 8)
        path.write_bytes(bad)
        try:
            tensors, metadata = read_tensors(path)
        except ResultError:
            continue
        # padding between header and values carries no information
        assert metadata == {"step": "3"}
        assert all(torch.equal(tensors[name], value) for name, value in TENSORS.items())
        assert good[place : place + 1] == b" "
    for length in range(0, len(good), 7):
        path.write_bytes(good[:length])
        with pytest.raises(ResultError, match=str(path)):
            read_tensors(path)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ResultError, match="cannot be read"):
        read_tensors(tmp_path / "missing")


def refuse_folders(monkeypatch, kind):
    """What Windows, network mounts and file systems without permissions do."""
    real_open, real_fsync = os.open, os.fsync

    def open_file(path, *arguments, **options):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real_open(path, *arguments, **options)

    def sync_file(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        real_fsync(handle)

    def refuse(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    def no_sync(_):
        raise OSError(errno.EINVAL, "Invalid argument")

    replaced = {
        "open": (os, "open", open_file),
        "sync of a folder": (os, "fsync", sync_file),
        "any sync": (os, "fsync", no_sync),
        "chmod": (type(Path()), "chmod", refuse),
    }
    monkeypatch.setattr(*replaced[kind])


@pytest.mark.parametrize("kind", ["open", "sync of a folder", "any sync", "chmod"])
def test_steps_that_a_file_system_lacks_are_no_errors(tmp_path, monkeypatch, kind):
    with monkeypatch.context() as patch:
        refuse_folders(patch, kind)
        with atomic_path(tmp_path / "file.txt") as temporary:
            temporary.write_text("whole")
    assert names(tmp_path) == ["file.txt"]
    assert (tmp_path / "file.txt").read_text() == "whole"


def killed_while_writing(target):
    """Start a process that writes ``target`` and is killed in the middle of it."""
    program = (
        "import os, sys; from dvae.storage import atomic_path\n"
        "with atomic_path(sys.argv[1]) as t: t.write_text('half'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(target)], check=False)


def test_what_a_killed_writer_left_is_swept_by_the_next_one(tmp_path):
    for name in ("file.txt", "other.txt"):
        killed_while_writing(tmp_path / name)
    ours = tmp_path / f".file.txt.elsewhere_{os.getpid()}.x.partial"  # of another machine
    ours.write_text("half")
    left = names(tmp_path)
    assert len(left) == 3 and all(name.endswith(".partial") for name in left)
    with atomic_path(tmp_path / "file.txt") as outer:
        outer.write_text("first")
        with atomic_path(tmp_path / "file.txt") as inner:  # leaves that of a running writer alone
            inner.write_text("second")
    assert (tmp_path / "file.txt").read_text() == "first"
    left = names(tmp_path)
    assert len(left) == 3 and ours.name in left and "file.txt" in left
    os.utime(ours, (0, 0))  # for more than a day nobody touched it
    with atomic_path(tmp_path / "file.txt") as temporary:
        temporary.write_text("third")
    assert not ours.exists()


def test_equal_tensors_make_equal_files(tmp_path):
    tensors = {f"t{i}": torch.arange(i + 1.0) for i in range(5)}
    contents = set()
    for copy in range(4):  # safetensors orders metadata anew, by chance, in every call
        write_tensors(tmp_path / str(copy), tensors, {c: c for c in "abcdef"})
        contents.add((tmp_path / str(copy)).read_bytes())
    assert len(contents) == 1
    read, metadata = read_tensors(tmp_path / "0")
    assert metadata == {c: c for c in "abcdef"}
    assert all(torch.equal(read[name], value) for name, value in tensors.items())


# --- digests --------------------------------------------------------------------------------


def test_a_file_is_known_by_its_digest(tmp_path):
    target = tmp_path / "file.txt"
    with atomic_path(target, digest=True) as temporary:
        temporary.write_text("first")
    assert names(tmp_path) == ["file.txt", "file.txt.sha256"]
    line = f"{hashlib.sha256(b'first').hexdigest()}  file.txt\n"  # what sha256sum writes
    assert digest_path(target).read_text() == line
    assert has_digest(target) and not write_digest(target)
    with atomic_path(target, digest=True) as temporary:
        temporary.write_text("second")
    assert has_digest(target) and len(digest_path(target).read_text()) == len(line)
    target.write_text("Second")
    with pytest.raises(DataError, match=rf"{target} is not the file that file\.txt\.sha256"):
        has_digest(target)
    assert write_digest(target) and has_digest(target)
    digest_path(target).write_text("nothing\n")
    with pytest.raises(DataError, match=r"holds no digest.*remove it"):
        has_digest(target)
    with atomic_path(target, digest=True) as temporary:
        temporary.write_text("third")
    assert has_digest(target)
    digest_path(target).unlink()
    assert not has_digest(target)
    with pytest.raises(OSError, match="missing"):
        has_digest(tmp_path / "missing")


KILLED = """
import os, signal, sys
from dvae.storage import atomic_path
rename, calls, last, before = os.replace, 0, int(sys.argv[2]), sys.argv[3] == "before"
def replace(*names):
    global calls
    calls += 1
    if calls == last and before:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(*names)
    if calls == last:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = replace
with atomic_path(sys.argv[1], digest=True) as temporary:
    temporary.write_text("new")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
@pytest.mark.parametrize("there", ["nothing", "a file", "a file with its digest"])
def test_a_kill_between_file_and_digest_leaves_a_file_that_is_accepted(tmp_path, there):
    for last in (1, 2, 3):  # digests, file, digest
        for moment in ("before", "after"):
            target = tmp_path / f"{last}{moment}"
            if there == "a file":
                target.write_text("old")
            elif there == "a file with its digest":
                with atomic_path(target, digest=True) as temporary:
                    temporary.write_text("old")
            command = [sys.executable, "-c", KILLED, str(target), str(last), moment]
            assert subprocess.run(command, check=False).returncode == -9
            arrived = (last, moment) in {(2, "after"), (3, "before"), (3, "after")}
            assert target.exists() == (arrived or there != "nothing")
            if target.exists():
                assert target.read_text() == ("new" if arrived else "old")
                # without a digest before, and none yet, it is a file without one
                assert has_digest(target) or ((last, moment), there) == ((1, "before"), "a file")
            with atomic_path(target, digest=True) as temporary:  # and the next one tidies up
                temporary.write_text("newer")
            assert has_digest(target) and digest_path(target).read_text().count("\n") == 1
    assert not list(tmp_path.glob(".*"))


def test_a_reader_never_meets_a_file_without_its_digest(tmp_path):
    target = tmp_path / "file.txt"
    problems, done = [], threading.Event()

    def read():
        while not done.is_set():
            try:
                assert has_digest(target)
            except Exception as problem:
                problems.append(problem)

    with atomic_path(target, digest=True) as temporary:
        temporary.write_text("0")
    reader = threading.Thread(target=read)
    reader.start()
    for i in range(150):
        with atomic_path(target, digest=True) as temporary:
            temporary.write_text(str(i))
    done.set()
    reader.join()
    assert not problems
