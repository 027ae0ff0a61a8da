"""The wheel in an environment that has nothing else, and what lies in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import jsonschema
import kvat
import pytest
from kvat._program import PREFIX, ask
from package_kit import ROOT, SURFACE

WHEEL, TOOLS = os.environ["KVAT_WHEEL"], Path(os.environ["KVAT_TOOLS"])
# Of libc and the compiler, as the wheel's platform tag promises them.
OF_EVERY_LINUX = {"linux-vdso.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libc.so.6", "libm.so.6", "libgcc_s.so.1"}


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel alone, without pip and in a folder with a blank."""
    folder = tmp_path_factory.mktemp("bare") / "an environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        folder / "bin" / "python",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        WHEEL,
    ]
    subprocess.run(pip, check=True)
    return folder


def run(*command: str | Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """In an environment of a few variables only."""
    environment = {"HOME": os.getcwd(), "LC_ALL": "C.UTF-8", **changes}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_the_program_and_the_module_run_without_anything_else(bare: Path) -> None:
    assert run(bare / "bin" / "kvat", "--version").stdout == f"kvat {kvat.__version__}\n"
    info = run(bare / "bin" / "python", "-m", "kvat", "info", "--json")
    assert info.returncode == 0, info.stderr
    assert '"kvat-info/1"' in info.stdout


def test_a_run_from_a_bare_environment(bare: Path, tmp_path: Path) -> None:
    done = run(bare / "bin" / "kvat", "tune", SURFACE, "--profile", "ci-micro", "-o", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results" / "report.html").is_file()


def test_exit_code_and_streams_are_the_programs_own(bare: Path) -> None:
    done = run(bare / "bin" / "kvat", "tnue")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'tune'" in done.stderr


def test_engines_are_those_that_the_wheel_carries(bare: Path) -> None:
    done = run(bare / "bin" / "kvat", "engines")
    assert done.returncode == 0
    assert "sim" in done.stdout
    assert "transformers" in done.stdout


def test_without_pytorch_the_worker_says_so(bare: Path) -> None:
    """The Python that asks runs the worker, too."""
    done = run(bare / "bin" / "kvat", "tune", "hf:synthetic:gpt2", "--profile", "ci-micro", PATH="/usr/bin:/bin")
    assert done.returncode == 69
    assert "torch" in done.stderr
    assert "pip install" in done.stderr


def test_no_library_of_the_machine_is_needed() -> None:
    for program in ("bin/kvat", "libexec/kvat/kvat-sim", "libexec/kvat/kvat-spawn"):
        done = subprocess.run(["ldd", PREFIX / program], capture_output=True, text=True, check=True)
        for line in done.stdout.splitlines():
            name, _, found = line.strip().partition(" => ")
            inside = found.startswith(str(PREFIX.parent.parent)) and "kvat.libs" in found
            assert inside or Path(name.split(" (")[0]).name in OF_EVERY_LINUX, (program, line)


def test_with_each_library_goes_what_its_licence_asks_for() -> None:
    """Shared ones by the names auditwheel gave them, as libjansson-1a2b3c4d.so.4.14.0; LAPACK is linked in."""
    carried = {path.name.partition("-")[0].partition(".so")[0] for path in (PREFIX.parent.parent / "kvat.libs").iterdir()}
    notices = {path.stem: path.read_text() for path in (PREFIX / "share/kvat/licenses").iterdir()}
    assert "libjansson" in carried
    for library in (*carried, "liblapack", "libblas"):
        assert any(name.startswith(library) and "icense" in text for name, text in notices.items()), library


def test_the_wheel_is_for_any_python_3_on_linux() -> None:
    name = Path(WHEEL).name
    assert name.startswith(f"kvat-{kvat.__version__}-py3-none-manylinux_2_")


def test_nothing_in_it_names_a_folder_of_the_machine_that_built_it() -> None:
    for path in PREFIX.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            assert os.fsencode(ROOT) not in path.read_bytes(), path


FAKE_TOOLS = {
    "pip": "echo begin >>log; sleep 0.5; mkdir -p build/dist/unrepaired; echo x >build/dist/unrepaired/x.whl; echo end >>log",
    "auditwheel": "mkdir build/dist/repaired; cp build/dist/unrepaired/x.whl build/dist/repaired",
}


def test_two_builds_at_once_are_one_and_another_recipe_is_another_wheel(tmp_path: Path) -> None:
    """scripts/wheel.sh in a checkout of its own, with tools that only note when they run."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/wheel.sh", "scripts/base-python.sh", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    tools = tmp_path / "cache" / TOOLS.name
    (tools / "bin").mkdir(parents=True)
    (tools / ".ready").touch()
    for name, body in FAKE_TOOLS.items():
        (tools / "bin" / name).write_text(f"#!/bin/sh\nset -e\n{body}\n")
        (tools / "bin" / name).chmod(0o755)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)

    def build() -> subprocess.Popen[str]:
        environment = {**os.environ, "KVAT_CACHE_DIR": str(tmp_path / "cache")}
        script = tmp_path / "scripts" / "wheel.sh"
        return subprocess.Popen([script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    first, second = [each.communicate(timeout=60) for each in (build(), build())]
    assert first == second and first[0].endswith("/x.whl\n") and not first[1]
    assert (tmp_path / "log").read_text().split() == ["begin", "end"]
    with (tmp_path / "scripts" / "wheel.sh").open("a") as script:
        script.write("# another recipe\n")
    assert build().communicate(timeout=60)[0] not in ("", first[0])
    assert (tmp_path / "log").read_text().split() == ["begin", "end"] * 2


def test_the_version_is_one() -> None:
    assert ask(["info"])["version"] == kvat.__version__


def test_types_hold_and_are_shipped() -> None:
    done = subprocess.run([TOOLS / "bin" / "mypy", "--no-incremental"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert (Path(sysconfig.get_path("purelib")) / "kvat" / "py.typed").is_file()


def test_schemas_are_shipped() -> None:
    assert jsonschema.Draft202012Validator.META_SCHEMA
    assert (PREFIX / "share/kvat/schemas/plan.schema.json").read_bytes() == (ROOT / "schemas/plan.schema.json").read_bytes()
