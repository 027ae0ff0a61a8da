"""The llama-server on PATH against our libllama. Usage: test_path_server.py WORKER [LLAMA_SERVER of the same build]."""

import json
import os
import shutil
import sys
import tempfile
import unittest

from test_worker import LLAMA
from worker import Worker

PROGRAM = SERVER = None
VERSION = 'case $1 in --version) echo "version: 0.1.0 (build 42, commit 0123abc)" >&2;; *) echo "Available devices:"; echo "  (none)";; esac'


class PathServer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cache = tempfile.mkdtemp(prefix="kvat-path-")
        cls.config = os.path.join(cls.cache, "llama.json")
        with open(cls.config, "w") as file:
            json.dump(LLAMA, file)
        cls.version = cls.describe(None)[1]["engine"]["version"]

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.cache)

    @classmethod
    def describe(cls, folder, **params):
        """What the worker answers with `folder` before everything else on PATH, and its `initialize`. It is for a run that
        measures unless said otherwise."""
        path = [entry for entry in os.environ["PATH"].split(":") if not os.path.exists(os.path.join(entry, "llama-server"))]
        environment = {"PATH": ":".join(([folder] if folder else []) + path), "KVAT_CACHE_DIR": cls.cache,
                       "XDG_CONFIG_HOME": cls.cache}
        with Worker(PROGRAM, environment=environment) as worker:
            hello = worker.call("initialize", protocol={"min": 1, "max": 1}, launch_index=0)
            return worker.call("describe", model="synthetic:" + cls.config, **{"measuring": True, **params}), hello

    def script(self, text, mode=0o755):
        folder = tempfile.mkdtemp(dir=self.cache)
        path = os.path.join(folder, "llama-server")
        with open(path, "w") as file:
            file.write("#!/bin/sh\n" + text + "\n")
        os.chmod(path, mode)
        return folder

    def note(self, text):
        """The only note on a server that is this script."""
        answer, _ = self.describe(self.script(text))
        self.assertEqual(len(answer["notes"]), 1, answer["notes"])
        return answer["notes"][0], answer.get("server")

    def test_without_a_server_nothing_is_said(self):
        answer, _ = self.describe(None)
        self.assertEqual(answer["notes"], [])
        self.assertNotIn("server", answer)

    def test_one_that_cannot_be_executed_is_none(self):
        answer, _ = self.describe(self.script(VERSION, mode=0o644))
        self.assertEqual(answer["notes"], [])
        self.assertNotIn("server", answer)

    def test_the_server_of_the_same_build_is_no_news(self):
        if not SERVER:
            self.skipTest("no llama-server was built")
        answer, _ = self.describe(os.path.dirname(SERVER))
        self.assertEqual(answer["notes"], [])
        self.assertTrue(answer["server"]["version"].startswith(self.version))
        self.assertEqual(answer["server"]["libraries"], "same")

    def test_another_version_is_named_with_what_it_means(self):
        note, server = self.note(VERSION)
        self.assertEqual(note, f"The llama-server on PATH is another build than the one measured, libllama {self.version}: it is "
                               f"version 0.1.0 (build 42, commit 0123abc), not {self.version}. Run by it, speed and memory may "
                               "differ from this plan, and another configuration may be best")
        self.assertEqual(server, {"version": "0.1.0 (build 42, commit 0123abc)", "libraries": "unknown"})

    def test_other_devices_are_named(self):
        note, _ = self.note(f'echo "version: {self.version} (build 1, commit unknown)"\n'
                            'echo "Available devices:"\necho "  CUDA7: NVIDIA Imagined (81089 MiB, 80500 MiB free)"')
        self.assertIn("its devices besides the CPU are CUDA7: NVIDIA Imagined, not ", note)
        self.assertNotIn("MiB", note)

    def test_a_server_that_lists_no_devices_is_compared_by_version(self):
        note, server = self.note('[ "$1" = --version ] || exit 1\necho "version: 4567 (0123abcd)"')
        self.assertIn(f"it is version 4567 (0123abcd), not {self.version}. ", note)
        self.assertEqual(server["version"], "4567 (0123abcd)")

    def test_what_cannot_be_asked_is_said_with_the_reason(self):
        cases = (("exit 1", "it ended with exit status 1"), ("kill -9 $$", "it was ended by signal 9"),
                 ("printf '\\377\\376\\000\\033]0;x\\007 garbage\\n'", "it did not tell its version"), ("", "it did not tell its version"),
                 ("printf 'version: \\033[31m1\\n'", "it did not tell its version"),
                 ("exec yes version: 1", "it said far too much"), ("exec sleep 1000", "it did not answer in time"))
        for text, reason in cases:
            with self.subTest(text):
                note, server = self.note(text)
                self.assertEqual(note, f"The llama-server on PATH could not be asked which build it is ({reason}): whether it is "
                                       f"the one measured, libllama {self.version}, is not known")
                self.assertIsNone(server)

    def test_it_is_left_alone_where_nothing_is_measured(self):
        asked = os.path.join(self.cache, "asked")
        folder = self.script(f"echo once >> '{asked}'\n{VERSION}")
        for measuring in (False, None, "yes", 1):
            other, _ = self.describe(folder, measuring=measuring)
            self.assertEqual(other["notes"], [])
            self.assertNotIn("server", other)
        self.assertFalse(os.path.exists(asked))
        first, _ = self.describe(folder)
        self.assertEqual(len(first["notes"]), 1)
        self.assertTrue(os.path.exists(asked))

    def test_what_identifies_a_run_does_not_depend_on_it(self):
        first, hello = self.describe(None)
        second, again = self.describe(self.script(VERSION))
        for name in ("engine", "clock", "capabilities"):
            self.assertEqual(hello[name], again[name])
        for name in ("model", "devices", "knobs", "absent"):
            self.assertEqual(first[name], second[name], name)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        SERVER = sys.argv.pop(1)
    unittest.main(verbosity=1)
