"""What is declared, locked, stated and shipped agrees."""

from __future__ import annotations

import ast
import importlib
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
import torch
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import dvae
from bookkit.chapters import ROOT, Chapter, read, select
from bookkit.execute import write_notebook


@pytest.fixture
def project(root) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


@pytest.fixture
def declared(project) -> dict[str, Requirement]:
    """Every requirement of pyproject.toml, all extras, by name."""
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    lines = [line for group in groups for line in group]
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


@pytest.fixture
def locked(root) -> dict[str, list[Version]]:
    """The versions in requirements.lock by name (more than one where Pythons differ)."""
    versions: dict[str, list[Version]] = {}
    for line in (root / "requirements.lock").read_text().splitlines():
        if found := re.match(r"([\w.-]+)==([^ ;\\]+)", line):
            versions.setdefault(canonicalize_name(found[1]), []).append(Version(found[2]))
    return versions


@pytest.fixture
def torch_version(root) -> Version:
    rule = re.search(r"^TORCH_VERSION := (\S+)$", (root / "Makefile").read_text(), re.MULTILINE)
    return Version(rule[1])


def test_conda_environment_is_that_of_pyproject(root, project, declared):
    environment = yaml.safe_load((root / "environment.yml").read_text())
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    pip = next(line["pip"] for line in environment["dependencies"] if isinstance(line, dict))
    ours = {canonicalize_name(r.name): r.specifier for r in map(Requirement, conda + pip)}
    ours["torch"] = ours.pop("pytorch")
    ours.pop("pip")
    assert str(ours.pop("python")) == project["requires-python"]
    assert ours == {name: requirement.specifier for name, requirement in declared.items()}


def test_lock_holds_every_requirement_but_torch(declared, locked, torch_version):
    assert "torch" not in locked
    assert torch_version in declared["torch"].specifier
    for name, requirement in declared.items():
        if name != "torch":
            assert name in locked, f"{name} is not locked; run: make lock"
            assert all(version in requirement.specifier for version in locked[name]), name


def test_lock_holds_what_torch_needs(locked):
    needs = [Requirement(line) for line in requires("torch")]
    plain = [r for r in needs if r.marker is None]
    assert len(plain) > 3
    for requirement in plain:
        versions = locked[canonicalize_name(requirement.name)]
        assert all(version in requirement.specifier for version in versions), requirement


def test_lock_is_hashed_and_names_no_server(root):
    text = (root / "requirements.lock").read_text()
    blocks = re.split(r"\n(?=\S)", text.strip())
    pinned = [block for block in blocks if "==" in block.splitlines()[0]]
    assert len(pinned) > 100
    assert all("--hash=sha256:" in block for block in pinned)
    assert "://" not in text
    assert "index-url" not in text
    assert "find-links" not in text


def test_version_is_the_same_everywhere(root, project):
    import dvae

    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    version = project["version"]
    assert dvae.__version__ == version
    assert citation["version"] == version
    assert f"\n## {version}" in (root / "CHANGELOG.md").read_text()
    assert citation["license"] == project["license"] == "MIT"
    assert (root / "LICENSE").read_text().startswith("MIT License")


def test_zenodo_is_told_what_the_citation_says(root):
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    zenodo = json.loads((root / ".zenodo.json").read_text())
    for same in ("title", "version", "license", "keywords"):
        assert zenodo[same] == citation[same], same
    assert zenodo["upload_type"] == citation["type"] == "software"
    names = [
        author.get("name") or f"{author['family-names']}, {author['given-names']}"
        for author in citation["authors"]
    ]
    assert [creator["name"] for creator in zenodo["creators"]] == names
    dois = [reference["doi"] for reference in citation["references"]]
    assert [related["identifier"] for related in zenodo["related_identifiers"]] == dois


def test_library_imports_only_what_it_declares(root, project):
    def names_of(lines: list[str]) -> set[str]:
        return {canonicalize_name(Requirement(line).name) for line in lines}

    extras = project["optional-dependencies"]
    declared = names_of(project["dependencies"] + extras["cluster"])
    for_pages = declared | names_of(extras["book"])  # what only a chapter calls
    provides = packages_distributions()
    imported: dict[str, str] = {}
    for path in (root / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module]
            imported |= {module.partition(".")[0]: path.name for module in modules}
    assert {"torch", "numpy"} <= imported.keys()
    for module, where in imported.items():
        if module not in sys.stdlib_module_names and module != "dvae":
            names = {canonicalize_name(name) for name in provides.get(module, [module])}
            allowed = for_pages if where == "chapters.py" else declared
            assert names & allowed, f"{where} imports {module}, which pyproject.toml leaves out"


def _public_modules() -> list[str]:
    found = pkgutil.walk_packages(dvae.__path__, "dvae.")
    return ["dvae", *(module.name for module in found if "._" not in module.name)]


@pytest.mark.parametrize("name", _public_modules())
def test_public_modules_have_their_names_to_themselves(name):
    """Each is imported and found by its own name, and no public object hides a module."""
    module = importlib.import_module(name)
    package, _, leaf = name.rpartition(".")
    assert not package or getattr(importlib.import_module(package), leaf) is module
    inside = {m.name for m in pkgutil.iter_modules(getattr(module, "__path__", ()))}
    for shared in inside & set(getattr(module, "__all__", ())):
        assert getattr(module, shared) is importlib.import_module(f"{name}.{shared}")


def test_layers_of_imports_are_checked_and_a_wrong_import_is_found(root, tmp_path):
    """The contracts of pyproject.toml hold for the library and fail for a copy that breaks them."""
    shutil.copy(root / "pyproject.toml", tmp_path)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(root / "src", tmp_path / "src", ignore=ignored)
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"]

    def check() -> str:
        path = {"PYTHONPATH": str(tmp_path / "src")}
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | path, capture_output=True, text=True
        )
        return f"{done.returncode}: {done.stdout}"

    assert check().startswith("0: ")
    with (tmp_path / "src" / "dvae" / "models" / "pod.py").open("a") as file:
        file.write("import dvae.experiments\n")
    assert "dvae.models.pod -> dvae.experiments" in check()


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the wheel, in `dist`, and what it was built from."""
    folder = tmp_path_factory.mktemp("built")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", folder / "src", ignore=ignored)
    (folder / "results").symlink_to(ROOT / "results")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", folder / "dist", folder]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_wheel_holds_the_library_the_command_and_the_results(built):
    (wheel,) = (built / "dist").glob("dvae-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry,) = [name for name in names if name.endswith("entry_points.txt")]
        assert "dvae = dvae.cli:main" in archive.read(entry).decode()
    files = [path for path in (built / "src" / "dvae").rglob("*") if path.is_file()]
    assert {path.relative_to(built / "src").as_posix() for path in files} <= names
    assert all(name.startswith("dvae") for name in names)
    stored = {path.relative_to(ROOT / "results") for path in ROOT.glob("results/[!.]*/*.nc*")}
    assert {Path("baselines/laptop.nc"), Path("baselines/laptop.nc.sha256")} <= stored
    assert {f"dvae/stored/{path.as_posix()}" for path in stored} <= names
    # beyond that many bytes the results want an archive of their own (100 MB is what PyPI takes)
    assert wheel.stat().st_size < 60e6


def test_a_downloaded_chapter_runs_in_an_empty_folder_after_the_wheel_is_installed(built, tmp_path):
    (wheel,) = (built / "dist").glob("dvae-*.whl")
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site]
    subprocess.run([*install, wheel], check=True, capture_output=True)
    environment = {k: v for k, v in os.environ.items() if k != "DVAE_RESULTS"}
    environment["PYTHONPATH"] = str(site)

    def run(*words: str | Path) -> subprocess.CompletedProcess:
        command = [sys.executable, *words]
        return subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)

    chapter = Chapter(ROOT / "book" / "10_conclusions.md")
    write_notebook(read(chapter), empty / "chapter.ipynb")
    done = run("-m", "papermill", "--no-progress-bar", "chapter.ipynb", "executed.ipynb")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in empty.iterdir()} == {"chapter.ipynb", "executed.ipynb"}
    where = run("-c", "from dvae.storage import results_folder as f; print(f())").stdout
    assert Path(where.strip()) == site / "dvae" / "stored"


def test_ci_runs_the_commands_of_the_readme(root):
    script = (root / ".ci" / "run").read_text()
    assert os.access(root / ".ci" / "run", os.X_OK)
    readme = (root / "README.md").read_text()
    for command in ("make test", "make book"):
        assert re.search(rf"^{command}\b", script, re.MULTILINE)
        assert re.search(rf"^\s*{command}\b", readme, re.MULTILINE)


def test_public_workflow_runs_ci_with_pinned_actions(root):
    text = (root / ".github" / "workflows" / "ci.yml").read_text()
    (job,) = yaml.safe_load(text)["jobs"].values()
    assert job["strategy"]["matrix"]["python-version"] == ["3.11", "3.13"]
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    for step in job["steps"]:
        assert "uses" not in step or re.search(r"@v\d+\.\d+\.\d+$", step["uses"])
    assert "secrets" not in text


def test_pages_are_published_as_anybody_builds_them(root):
    text = (root / ".github" / "workflows" / "pages.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    (command,) = [step["run"] for step in steps if "run" in step]
    assert command.startswith("make book ")
    (folder,) = [step["with"]["path"] for step in steps if "path" in step.get("with", ())]
    assert f"{folder}/index.html" in (root / "README.md").read_text()
    assert all(re.search(r"@v\d+\.\d+\.\d+$", step["uses"]) for step in steps if "uses" in step)
    writes = [name for name, job in jobs.items() if "write" in str(job.get("permissions"))]
    assert writes == ["publish"] and "secrets" not in text


def test_container_installs_with_make_and_runs_a_chapter(root):
    lines = (root / "Containerfile").read_text().splitlines()
    makes = [line for line in lines if "make" in line and line.startswith(("RUN make", "CMD"))]
    assert [line.split()[0] for line in makes] == ["RUN", "CMD"]
    assert makes[0].startswith("RUN make install ")
    words = json.loads(makes[1].removeprefix("CMD "))
    dry = subprocess.run([*words, "--dry-run"], cwd=root, capture_output=True, text=True)
    assert dry.returncode == 0 and "tools/book.py build" in dry.stdout
    (only,) = [word.removeprefix("ONLY=") for word in words if word.startswith("ONLY=")]
    assert len(select([only])) == 1
    ignored = (root / ".containerignore").read_text().splitlines()
    assert {".venv", "_build"} <= set(ignored)


def test_old_python_is_refused_with_advice(root, tmp_path):
    old = tmp_path / "python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.1" && exit\nexit 1\n')
    old.chmod(0o755)
    command = ["make", "-C", root, "install", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert "Python 3.9.1" in done.stderr
    assert "make PYTHON=" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_kernels_do_not_read_the_profile_of_the_user(root):
    own = {"IPYTHONDIR": "/home/me/.ipython", "JUPYTER_PATH": "/home/me/kernels"}
    shown = subprocess.run(
        ["make", "--eval", "show: ; @env", "show"],
        cwd=root,
        env=os.environ | own,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert f"IPYTHONDIR={root}/_build/ipython" in shown
    assert not [line for line in shown if line.startswith("JUPYTER_PATH=")]


def test_the_sheet_for_a_gpu_lists_its_steps_and_refuses_to_run_without_one(root):
    command = [sys.executable, "tools/gpu.py"]
    listed = subprocess.run([*command, "--list"], cwd=root, capture_output=True, text=True)
    assert listed.returncode == 0, listed.stderr
    order = [listed.stdout.index(part) for part in ("-m cuda", "bench_training", "dense_runs")]
    assert order == sorted(order)
    if not torch.cuda.is_available():
        refused = subprocess.run(command, cwd=root, capture_output=True, text=True)
        assert refused.returncode == 2
        assert "no CUDA device" in refused.stderr
