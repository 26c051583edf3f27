"""What is free is the least of what the machine, the process and its control groups leave."""

from __future__ import annotations

import pytest

from dvae import memory
from dvae.errors import DataError

MIB = 2**20


@pytest.fixture
def grouped(monkeypatch, tmp_path):
    """Write which groups the process is in, and the files of groups."""

    def write(own: str, files: dict[str, str]) -> None:
        (tmp_path / "own").write_text(own)
        for name, content in files.items():
            (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "groups" / name).write_text(content)

    monkeypatch.setattr(memory, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "groups")
    return write


def unified(limit: object, used: int, files: int = 0, folder: str = "") -> dict[str, str]:
    """The files of a group of version 2; half of the files in memory were read once only."""
    return {
        f"{folder}memory.max": f"{limit}\n",
        f"{folder}memory.current": f"{used}\n",
        f"{folder}memory.stat": f"anon 7\nactive_file {files // 2}\ninactive_file {files // 2}\n",
    }


def test_the_limit_of_a_container_counts(grouped):
    """A container sees its own group as the top one; the files it has read can be given up."""
    grouped("0::/\n", unified(1000 * MIB, 900 * MIB, files=600 * MIB))
    assert memory.available_memory() == 700 * MIB
    with pytest.raises(DataError, match=r"would take about 0\.732 GiB .* 0\.684 are free; less"):
        memory.check_memory(750 * MIB, "it", "less")
    memory.check_memory(650 * MIB, "it", "less")


def test_the_tightest_of_all_groups_above_counts(grouped):
    files = unified("max", MIB, folder="job/step/task/")
    files |= unified(200 * MIB, 150 * MIB, folder="job/step/")
    files |= unified(100 * MIB, 90 * MIB, folder="job/")
    grouped("0::/job/step/task\n", files)
    assert memory.available_memory() == 10 * MIB
    grouped("0::/job/step/task\n", unified(100 * MIB, 160 * MIB, folder="job/"))
    assert memory.available_memory() == 0


@pytest.mark.parametrize("folder", ["", "docker/ab/"], ids=["seen as the top", "seen in its place"])
def test_groups_of_version_1_count_what_lies_below_them(grouped, folder):
    files = {
        "memory.limit_in_bytes": f"{80 * MIB}",
        "memory.usage_in_bytes": f"{50 * MIB}",
        "memory.stat": f"inactive_file 1\ntotal_inactive_file {MIB}\ntotal_active_file {MIB}\n",
    }
    own = "12:cpu,cpuacct:/docker/ab\n5:memory:/docker/ab\n0::/docker/ab\n"
    grouped(own, {f"memory/{folder}{name}": content for name, content in files.items()})
    assert memory.available_memory() == 32 * MIB


def test_groups_without_a_limit_or_that_cannot_be_read_say_nothing(grouped, monkeypatch):
    monkeypatch.setattr(memory, "_free", lambda: 5)
    for own, files in (
        ("", {}),
        ("0::/../elsewhere\n", {}),
        ("0::/\n", {"memory.stat": ""}),
        ("0::/\n", unified("max", 3)),
        ("0::/\n", unified(MIB, 3) | {"memory.stat": "not a table\n"}),
    ):
        grouped(own, files)
        assert memory.available_memory() == 5
    monkeypatch.setattr(memory, "OWN_GROUPS", memory.GROUPS / "missing")
    assert memory.available_memory() == 5
