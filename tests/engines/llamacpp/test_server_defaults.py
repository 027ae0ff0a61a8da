"""Starts the real llama-server without flags and compares what it does with every default the worker declares.

Usage: test_server_defaults.py WORKER LLAMA_SERVER
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

from test_worker import GEMMA3, LLAMA
from worker import Worker

PROGRAM = SERVER = None


class Server:
    """llama-server on a free loopback port, with neither flags that tune it nor anybody's configuration."""

    def __init__(self, model, home, *arguments):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        env = {name: value for name, value in os.environ.items()
               if not name.startswith(("LLAMA_", "GGML_", "OMP_", "GOMP_", "XDG_"))}
        env.update(HOME=home, OMP_DISPLAY_ENV="VERBOSE")
        # The log level is no tuned knob; without it the server keeps what we came for to itself.
        command = [SERVER, "-m", model, "--host", "127.0.0.1", "--port", str(self.port), "-lv", "5", *arguments]
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.decode(errors="replace").rstrip())

    def __enter__(self):
        deadline = time.monotonic() + 120
        while True:
            if self.process.poll() is not None:
                raise RuntimeError("llama-server ended: " + "\n".join(self.lines[-20:]))
            try:
                self.get("/health")
                return self
            except (urllib.error.URLError, ConnectionError):
                if time.monotonic() > deadline:
                    self.__exit__()
                    raise
                self.process.poll()
                threading.Event().wait(0.05)

    def __exit__(self, *unused):
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.reader.join(timeout=10)
        self.process.stdout.close()

    def get(self, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def last(self, pattern):
        """The last match: before it loads the model in earnest, the server tries it out without memory."""
        for line in reversed(self.lines):
            match = re.search(pattern, line)
            if match:
                return match.group(1)
        raise AssertionError(f"the server never said {pattern}")


class Defaults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="kvat-server-")
        cls.llama, cls.knobs = cls.describe("llama", LLAMA, ":q4_0")
        cls.gemma, cls.gemma_knobs = cls.describe("gemma", GEMMA3, "")
        with Server(cls.llama, cls.folder) as server:
            # Random weights end a text at any token, with a seed of their own each time.
            request = {"prompt": "the cat", "n_predict": 4, "ignore_eos": True, "seed": 1}
            cls.completion = server.get("/completion", request)
            cls.props = server.get("/props")
            cls.slots = server.get("/slots")
            cls.plain = server
        cls.help = subprocess.run([SERVER, "--help"], capture_output=True, text=True, timeout=60).stdout

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    @classmethod
    def describe(cls, name, config, suffix):
        path = os.path.join(cls.folder, name + ".json")
        with open(path, "w") as file:
            json.dump(config, file)
        with Worker(PROGRAM, environment={"KVAT_CACHE_DIR": cls.folder}) as worker:
            worker.call("initialize", protocol={"min": 1, "max": 1})
            answer = worker.call("describe", model="synthetic:" + path + suffix)
        return answer["model"]["file"], {knob["name"]: knob for knob in answer["knobs"]}

    def check(self, name, seen, knobs=None):
        knob = (knobs or self.knobs)[name]
        resolve = lambda value: knob.get("aliases", {}).get(str(value), str(value))
        self.assertEqual(resolve(seen), resolve(knob["default"]), name)
        type(self).checked = getattr(self, "checked", set()) | {name}

    def test_a_synthetic_model_answers_a_completion(self):
        self.assertEqual(self.completion["tokens_predicted"], 4)
        self.assertGreater(len(self.completion["content"]), 0)
        self.assertEqual(self.props["total_slots"], 4)
        self.assertEqual(len(self.slots), 4)
        self.assertEqual(self.slots[0]["n_ctx"], 8192)

    def test_defaults_are_the_servers(self):
        server = self.plain
        self.check("threads", server.last(r"n_threads = (\d+)"))
        self.check("threads-batch", server.last(r"n_threads_batch = (\d+)"))
        self.check("batch-size", server.last(r"llama_context: n_batch +\S+ (\d+)"))
        self.check("ubatch-size", server.last(r"llama_context: n_ubatch +\S+ (\d+)"))
        self.check("flash-attn", server.last(r"llama_context: flash_attn +\S+ (\w+)"))
        self.check("flash-attn", {"enabled": "on"}.get(server.last(r"Flash Attention (\w+)"), "off"))
        self.check("cache-type-k", server.last(r"llama_kv_cache: size.* K \((\w+)\)"))
        self.check("cache-type-v", server.last(r"llama_kv_cache: size.* V \((\w+)\)"))
        self.check("load-mode", server.last(r"load_mode = (\S+?)\)"))
        self.check("repack", "on" if float(server.last(r"CPU_REPACK model buffer size = +([0-9.]+)")) > 0 else "off")
        self.check("prio", re.search(r"process/thread priority.*?\(default: (-?\d+)\)", self.help, re.S).group(1))
        if "poll" in self.knobs:
            self.check("poll", re.search(r"use polling level.*?default: (\d+)\)", self.help, re.S).group(1))
        if "cpu-mask" in self.knobs:
            self.assertRegex(self.help, r'CPU affinity mask[^"]*\(default:\s+""\)')
            self.check("cpu-mask", "none")
            self.check("cpu-strict", re.search(r"strict CPU placement \(default: (\d+)", self.help).group(1))
        if "GOMP_SPINCOUNT" in self.knobs:
            self.check("GOMP_SPINCOUNT", server.last(r"GOMP_SPINCOUNT = '(\d+)'"))

        # Without flags the server opens four slots over one shared cache; told how many slots, it does not share.
        self.assertEqual(server.last(r"llama_context: kv_unified +\S+ (\w+)"), "true")
        with Server(self.llama, self.folder, "-np", "2") as slots:
            pass
        self.check("kv-unified", {"true": "on", "false": "off"}[slots.last(r"llama_context: kv_unified +\S+ (\w+)")])

        with Server(self.gemma, self.folder) as window:
            cells = int(window.last(r"creating +SWA KV cache, size = (\d+) cells"))
        self.check("swa-full", "on" if cells >= 8192 else "off", self.gemma_knobs)

        # What one processor with one NUMA node and no GPU leaves out is declared absent, with a reason.
        declared = (set(self.knobs) | set(self.gemma_knobs)) - {"numa"}
        gpu = {"n-gpu-layers", "split-mode", "main-gpu", "n-cpu-moe", "kv-offload", "op-offload"}
        self.assertEqual(declared - gpu - self.checked, set())


if __name__ == "__main__":
    PROGRAM, SERVER = sys.argv.pop(1), sys.argv.pop(1)
    unittest.main(verbosity=1)
