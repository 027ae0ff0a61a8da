"""An installation: kvat finds its own parts wherever the prefix is, and the library can be used by others."""

import os
import pathlib
import shutil
import subprocess

import pytest

BUILD = pathlib.Path(os.environ.get("KVAT_BUILD", "build/release")).resolve()
SOURCE = pathlib.Path(__file__).resolve().parents[2]

PROGRAM = """
#include <stdio.h>
#include <kvat/profile.h>
#include <kvat/run.h>
int main(void) {
    kvat_profile *profile = NULL;
    if (kvat_profile_builtin(&profile, "ci-micro", NULL) != KVAT_OK) return 1;
    printf("%s %zu %s\\n", profile->name, profile->n_cells, kvat_version());
    kvat_profile_free(profile);
    return 0;
}
"""


@pytest.fixture(scope="module")
def prefix(tmp_path_factory) -> pathlib.Path:
    first = tmp_path_factory.mktemp("install") / "first place"
    subprocess.run(["cmake", "--install", str(BUILD), "--prefix", str(first)], check=True, capture_output=True)
    moved = first.with_name("moved elsewhere")
    shutil.move(first, moved)
    return moved


def test_a_moved_installation_tunes(prefix, tmp_path):
    done = subprocess.run(
        [prefix / "bin/kvat", "tune", SOURCE / "examples/surfaces/quiet.json", "-o", "out", "--time", "10m"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={k: v for k, v in os.environ.items() if not k.startswith("KVAT_")},
    )
    assert done.returncode in (0, 6), done.stderr
    assert (tmp_path / "out/best_plan.json").exists()


def test_a_bundled_libllama_is_the_one_that_is_used(prefix):
    """Else clearing the cache it was built in would break every installation."""
    bundled = prefix / "lib/kvat"
    if not (bundled / "libllama.so").exists():
        pytest.skip("libllama is the system's")
    ldd = subprocess.run(["ldd", prefix / "libexec/kvat/kvat-llamacpp"], capture_output=True, text=True, check=True)
    found = [line.split(" => ")[1].rsplit(" (", 1)[0] for line in ldd.stdout.splitlines() if "llama" in line or "ggml" in line]
    assert found
    assert {pathlib.Path(path).resolve().parent for path in found} == {bundled.resolve()}


def test_everything_a_user_expects_is_installed(prefix):
    for path in (
        "bin/kvat", "libexec/kvat/kvat-spawn", "libexec/kvat/kvat-sim", "share/kvat/engines/sim.json",
        "share/kvat/prompts/rag.txt", "share/kvat/schemas/plan.schema.json", "share/man/man1/kvat.1",
        "share/bash-completion/completions/kvat", "include/kvat/run.h",
    ):
        assert (prefix / path).exists(), path
    assert subprocess.run(["man", "--warnings", "-l", prefix / "share/man/man1/kvat.1"], capture_output=True).stderr == b"" \
        if shutil.which("man") else True


@pytest.mark.release
@pytest.mark.parametrize("static", [False, True], ids=["shared", "static"])
def test_pkg_config_builds_a_program(prefix, tmp_path, static):
    (tmp_path / "program.c").write_text(PROGRAM)
    pc = next(prefix.glob("lib*/**/kvat.pc")).parent
    env = dict(os.environ, PKG_CONFIG_PATH=str(pc), LD_LIBRARY_PATH=str(pc.parent))
    words = ["pkg-config", "--cflags", "--libs"] + (["--static"] if static else []) + ["kvat"]
    flags = subprocess.run(words, env=env, check=True, capture_output=True, text=True).stdout
    library = "-l:libkvat.a" if static else "-lkvat"
    command = f"cc -std=c17 program.c -o program {flags.replace('-lkvat', library)}"
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, env=env)
    said = subprocess.run([tmp_path / "program"], env=env, check=True, capture_output=True, text=True).stdout
    assert said.startswith("ci-micro 1 ")


@pytest.mark.release
def test_cmake_package_builds_a_program(prefix, tmp_path):
    (tmp_path / "program.c").write_text(PROGRAM)
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(user C)\nfind_package(kvat 0.1 REQUIRED)\n"
        "foreach(kind shared static)\n  add_executable(with_${kind} program.c)\n"
        "  target_link_libraries(with_${kind} kvat::${kind})\nendforeach()\n"
    )
    subprocess.run(["cmake", "-S", ".", "-B", "b", f"-DCMAKE_PREFIX_PATH={prefix}"], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(["cmake", "--build", "b"], cwd=tmp_path, check=True, capture_output=True)
    for kind in ("shared", "static"):
        said = subprocess.run([tmp_path / f"b/with_{kind}"], check=True, capture_output=True, text=True).stdout
        assert said.startswith("ci-micro 1 ")
