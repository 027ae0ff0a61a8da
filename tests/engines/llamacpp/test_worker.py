"""The llama.cpp worker through its protocol, on tiny models. Usage: test_worker.py WORKER [unittest options]."""

import json
import os
import shutil
import sys
import tempfile
import unittest

from worker import Fault, Worker

LLAMA = {
    "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1,
    "intermediate_size": 128, "vocab_size": 512, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
}
# A window of 64 tokens in five layers of six.
GEMMA3 = {
    "model_type": "gemma3_text", "num_hidden_layers": 6, "hidden_size": 64, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 32, "intermediate_size": 128, "vocab_size": 512,
    "max_position_embeddings": 8192, "rms_norm_eps": 1e-6, "sliding_window": 64,
}
PROGRAM = None
MINUTE = 60 * 10**9


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="kvat-worker-")
        cls.llama = cls.model("llama", LLAMA)
        cls.gemma = cls.model("gemma", GEMMA3)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    @classmethod
    def model(cls, name, config):
        path = os.path.join(cls.folder, name + ".json")
        with open(path, "w") as file:
            json.dump(config, file)
        return "synthetic:" + path

    def worker(self, *arguments, **environment):
        environment.setdefault("KVAT_CACHE_DIR", os.path.join(self.folder, "cache"))
        worker = Worker(PROGRAM, *arguments, environment=environment)
        self.addCleanup(worker.__exit__)
        worker.call("initialize", protocol={"min": 1, "max": 1})
        return worker

    def prepared(self, model=None, context_tokens=1024, sequences=1, **settings):
        worker = self.worker()
        worker.call("load", model=model or self.llama, settings={})
        worker.call("prepare", settings=settings, context_tokens=context_tokens, sequences=sequences)
        return worker

    def fails(self, kind, call, *arguments, **params):
        with self.assertRaises(Fault) as caught:
            call(*arguments, **params)
        self.assertEqual(caught.exception.kind, kind, str(caught.exception))
        return caught.exception


def tokens(count, seed=7):
    return {"seed": seed, "count": count, "low": 0, "high": 511}


def run(worker, prompt=64, output=8, **more):
    params = {"settings": {}, "phase": "full", "tokens": tokens(prompt), "output_tokens": output, "sequences": 1,
              "limit_ns": 10 * MINUTE, **more}
    return worker.call("run", **params)


class Describe(Case):
    def test_initialize_names_engine_clock_and_capabilities(self):
        worker = Worker(PROGRAM)
        self.addCleanup(worker.__exit__)
        answer = worker.call("initialize", protocol={"min": 1, "max": 3})
        self.assertEqual(answer["protocol"], 1)
        self.assertEqual(answer["engine"]["name"], "llamacpp")
        self.assertEqual(answer["clock"], "real")
        self.assertLessEqual({"marks", "repeats", "cancel", "tokenize"}, set(answer["capabilities"]))
        self.assertTrue(answer["engine"]["version"])

    def test_a_protocol_that_does_not_fit_is_refused(self):
        worker = Worker(PROGRAM)
        self.addCleanup(worker.__exit__)
        with self.assertRaises(Fault) as caught:
            worker.call("initialize", protocol={"min": 2, "max": 3})
        self.assertEqual(caught.exception.code, -32001)

    def test_the_model_is_described_from_its_file(self):
        worker = self.worker()
        answer = worker.call("describe", model=self.llama)
        model = answer["model"]
        expected = {"architecture": "llama", "format": "gguf", "weight_type": "q8_0", "synthetic": True, "layers": 2, "heads": 2,
                    "kv_heads": 1, "head_size": 32, "window_tokens": 0, "training_context_tokens": 8192, "vocabulary": 512,
                    "token_low": 0, "token_high": 511, "chat_template_sha256": None, "marks": True}
        self.assertEqual({name: model[name] for name in expected}, expected)
        self.assertTrue(os.path.isfile(model["file"]))
        self.assertTrue(model["identity"].startswith("sha256:"))
        self.assertEqual(answer["devices"][0]["kind"], "cpu")
        again = self.worker(KVAT_CACHE_DIR=os.path.join(self.folder, "other")).call("describe", model=self.llama)
        self.assertEqual(again["model"]["identity"], model["identity"])

    def test_every_knob_has_a_default_among_its_values(self):
        answer = self.worker().call("describe", model=self.llama)
        names = [knob["name"] for knob in answer["knobs"]]
        self.assertEqual(len(names), len(set(names)))
        for knob in answer["knobs"]:
            self.assertIn(knob["default"], knob["values"], knob["name"])
            self.assertIn(knob["default"], knob.get("search", [knob["default"]]), knob["name"])
            self.assertLessEqual(set(map(str, knob.get("search", []))), set(map(str, knob["values"])))
        for absent in answer["absent"]:
            self.assertTrue(absent["reason"])
        self.assertIn("swa-full", [absent["name"] for absent in answer["absent"]])

    def test_the_memory_model_gives_the_engines_bytes(self):
        worker = self.worker()
        memory = worker.call("describe", model=self.llama)["memory_model"]
        worker.call("load", model=self.llama, settings={})
        for context, flash, key, value in ((700, "on", "f16", "f16"), (4096, "on", "q8_0", "q4_0"), (2000, "off", "q8_0", "f16")):
            settings = {"flash-attn": flash, "cache-type-k": key, "cache-type-v": value, "ubatch-size": 256}
            answer = worker.call("prepare", settings=settings, context_tokens=context, sequences=1)
            cells = (context + 255) // 256 * 256
            rows = {name: lambda n, t=t: n // t["block"] * t["bytes"] for name, t in memory["types"].items()}
            kv = sum(g["layers"] * cells * (rows[key](g["k_elements"]) + rows[value](g["v_elements"])) for g in memory["kv_groups"])
            self.assertEqual(answer["memory"]["kv_bytes"], kv)
            fit = memory["compute_by_attention"][flash]
            compute = fit["fixed_bytes"] + 256 * (fit["ubatch_token_bytes"] + fit["ubatch_cell_bytes"] * cells)
            self.assertGreater(compute, 0.9 * answer["memory"]["compute_bytes"])


class BadModels(Case):
    def test_what_is_no_model_is_refused_with_the_byte(self):
        path = os.path.join(self.folder, "bad.gguf")
        with open(path, "wb") as file:
            file.write(b"GGUF\x03\x00\x00\x00")
        worker = self.worker()
        fault = self.fails("bad_model", worker.call, "describe", model=path)
        self.assertIn("byte 8", fault.detail)
        self.assertIn("bad.gguf", fault.detail)
        self.fails("bad_model", worker.call, "load", model=path, settings={})
        self.fails("bad_model", worker.call, "describe", model=self.folder)
        self.fails("bad_model", worker.call, "describe", model="/dev/zero")
        self.fails("bad_model", worker.call, "describe", model="synthetic:nothing")
        self.fails("bad_model", worker.call, "describe")
        fifo = os.path.join(self.folder, "fifo.gguf")
        os.mkfifo(fifo)
        self.fails("bad_model", worker.call, "describe", model=fifo)
        self.assertEqual(worker.call("describe", model=self.llama)["model"]["layers"], 2)

    def test_a_model_the_engine_refuses_is_a_bad_model(self):
        worker = self.worker()
        good = worker.call("describe", model=self.llama)["model"]["file"]
        path = os.path.join(self.folder, "renamed.gguf")
        with open(good, "rb") as file:
            content = file.read()
        with open(path, "wb") as file:
            file.write(content.replace(b"blk.1.ffn_down.weight", b"blk.1.ffn_dawn.weight"))
        self.assertIn("blk.1.ffn_down.weight", self.fails("bad_model", worker.call, "describe", model=path).detail)
        with open(path, "wb") as file:
            file.write(content.replace(b"llama", b"lamas"))
        self.assertIn("unknown model architecture", self.fails("bad_model", worker.call, "describe", model=path).detail)

    def test_a_model_that_changes_is_noticed(self):
        worker = self.worker()
        good = worker.call("describe", model=self.llama)["model"]["file"]
        path = os.path.join(self.folder, "changing.gguf")
        shutil.copy(good, path)
        worker.call("describe", model=path)
        worker.call("load", model=path, settings={})
        worker.call("prepare", settings={}, context_tokens=512, sequences=1)
        run(worker)
        with open(path, "ab") as file:
            file.write(b"more")
        self.assertIn("model changed", self.fails("bad_model", run, worker).detail)
        self.assertIn("model changed", self.fails("bad_model", worker.call, "load", model=path, settings={}).detail)

    def test_an_identity_follows_the_content(self):
        worker = self.worker()
        good = worker.call("describe", model=self.llama)["model"]["file"]
        paths = [os.path.join(self.folder, name) for name in ("one.gguf", "two.gguf", "three.gguf")]
        for path in paths:
            shutil.copy(good, path)
        with open(paths[2], "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x55")
        one, two, three = (worker.call("describe", model=path)["model"]["identity"] for path in paths)
        self.assertEqual(one, two)
        self.assertNotEqual(one, three)


class Families(Case):
    def test_every_family_of_models_is_made_and_runs(self):
        common = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128,
                  "vocab_size": 512, "max_position_embeddings": 1024}
        configs = {
            "gpt2": {"n_layer": 2, "n_embd": 64, "n_head": 2, "vocab_size": 512, "n_positions": 1024},
            "qwen2": dict(common, num_key_value_heads=1, rms_norm_eps=1e-6, rope_theta=1e6, tie_word_embeddings=True),
            "phi": dict(common, layer_norm_eps=1e-5, partial_rotary_factor=0.5),
            "llama": dict(common, num_key_value_heads=2, rope_parameters={"rope_theta": 500000.0}),
            "mistral": dict(common, num_key_value_heads=1, head_dim=64, sliding_window=None),
            "gemma3_text": GEMMA3,
        }
        worker = self.worker()
        for family, config in configs.items():
            for suffix in ("", ":q4_0", ":bf16"):
                model = self.model(family, dict(config, model_type=family)) + suffix
                answer = worker.call("describe", model=model)
                self.assertIn("memory_model", answer, model)
                worker.call("load", model=model, settings={})
                worker.call("prepare", settings={}, context_tokens=256, sequences=1)
                self.assertEqual(run(worker)["status"], "ok", model)


class Runs(Case):
    def check_times(self, result, sequence, output):
        times = sequence["token_ns"]
        self.assertEqual(len(times), output)
        self.assertEqual(times, sorted(times))
        self.assertGreater(times[0], result["start_ns"])
        self.assertLessEqual(times[-1], result["now_ns"])

    def test_a_full_run_has_a_time_for_each_token(self):
        worker = self.prepared()
        result = run(worker, prompt=100, output=12)
        self.assertEqual(result["status"], "ok")
        sequence, = result["sequences"]
        self.assertEqual(sequence["prompt_tokens"], 100)
        self.assertEqual(sequence["finish"], "length")
        self.check_times(result, sequence, 12)

    def test_ids_are_taken_as_they_are(self):
        worker = self.prepared()
        result = run(worker, tokens={"ids": list(range(50))}, output=3)
        self.assertEqual(result["sequences"][0]["prompt_tokens"], 50)
        self.fails("invalid_setting", run, worker, tokens={"ids": [1, 512]})
        self.fails("invalid_setting", run, worker, tokens={"ids": []})
        self.fails("invalid_setting", run, worker, tokens={"seed": 1, "count": 5, "low": 5, "high": 5})
        self.fails("invalid_setting", run, worker, tokens={"seed": 1, "count": 0, "low": 0, "high": 5})

    def test_a_depth_is_decoded_as_often_as_asked(self):
        worker = self.prepared(context_tokens=512, sequences=2)
        marks = [{"prompt_tokens": 64, "output_tokens": 5, "repeats": 3}, {"prompt_tokens": 128, "output_tokens": 4}]
        result = run(worker, prompt=128, output=4, sequences=2, marks=marks)
        first, second = result["marks"]
        self.assertNotIn("bursts", second)
        bursts = [first] + first["bursts"]
        self.assertEqual(len(bursts), 3)
        for before, burst in zip(bursts, bursts[1:]):
            self.assertEqual(len(burst["sequences"]), 2)
            for old, new in zip(before["sequences"], burst["sequences"]):
                self.assertEqual(len(new["token_ns"]), 5)
                self.assertEqual(new["token_ns"], sorted(set(new["token_ns"])))
                self.assertGreaterEqual(new["token_ns"][0], old["token_ns"][-1])
        spent = bursts[-1]["sequences"][0]["token_ns"][-1] - first["sequences"][0]["token_ns"][0]
        self.assertLessEqual(second["ttft_ns"] + spent, second["sequences"][0]["token_ns"][0] - result["start_ns"])
        for bad in (0, -1, 1 << 40, "3"):
            self.fails("invalid_setting", run, worker, prompt=128, sequences=2, marks=[dict(marks[1], repeats=bad)])
        timed_out = run(worker, prompt=128, output=4, sequences=2, limit_ns=1, marks=marks)
        self.assertEqual(timed_out["status"], "timeout")

    def test_marks_give_each_depth_without_the_decoding_before_it(self):
        worker = self.prepared()
        marks = [{"prompt_tokens": p, "output_tokens": n} for p, n in ((64, 4), (128, 1), (512, 6))]
        result = run(worker, prompt=512, output=6, marks=marks)
        self.assertEqual([mark["prompt_tokens"] for mark in result["marks"]], [64, 128, 512])
        before = 0
        for mark, asked in zip(result["marks"], marks):
            self.check_times(result, mark["sequences"][0], asked["output_tokens"])
            self.assertGreater(mark["ttft_ns"], before)
            self.assertLessEqual(mark["ttft_ns"], mark["sequences"][0]["token_ns"][0] - result["start_ns"])
            before = mark["ttft_ns"]
        first = result["marks"][0]
        self.assertEqual(first["ttft_ns"], first["sequences"][0]["token_ns"][0] - result["start_ns"])
        for bad in ([], [marks[1], marks[0]], marks[:2], [{"prompt_tokens": 512, "output_tokens": 0}]):
            self.fails("invalid_setting", run, worker, prompt=512, marks=bad)

    def test_decode_goes_on_from_a_prefill(self):
        worker = self.prepared()
        self.fails("invalid_setting", run, worker, phase="decode")
        first = run(worker, phase="prefill")
        self.assertEqual(len(first["sequences"][0]["token_ns"]), 1)
        rest = run(worker, phase="decode", output=7)
        self.assertEqual(len(rest["sequences"][0]["token_ns"]), 7)
        self.fails("invalid_setting", run, worker, phase="sideways")

    def test_two_sequences_run_at_once(self):
        for unified in ("off", "on"):
            worker = self.prepared(context_tokens=1024, sequences=2, **{"kv-unified": unified})
            result = run(worker, prompt=200, output=5, sequences=2)
            self.assertEqual(len(result["sequences"]), 2)
            for sequence in result["sequences"]:
                self.check_times(result, sequence, 5)
            self.fails("invalid_setting", run, worker, sequences=1)
            fault = self.fails("invalid_setting", run, worker, prompt=512, output=5, sequences=2)
            self.assertIn("516 tokens a sequence", fault.detail)

    def test_a_run_past_its_limit_says_timeout_and_the_next_one_works(self):
        worker = self.prepared(context_tokens=8192)
        self.assertEqual(run(worker, prompt=8000, limit_ns=1)["status"], "timeout")
        self.assertEqual(run(worker)["status"], "ok")

    def test_a_cancelled_run_is_given_up_and_the_next_one_works(self):
        worker = self.prepared(context_tokens=8192)
        id = worker.start("run", settings={}, phase="full", tokens=tokens(4000), output_tokens=4000, sequences=1)
        worker.send("$/cancel", {"id": id})
        with self.assertRaises(Fault) as caught:
            worker.answer(id)
        self.assertEqual(caught.exception.code, -32800)
        self.assertEqual(run(worker)["status"], "ok")

    def test_threads_change_between_runs(self):
        worker = self.prepared()
        count = os.cpu_count()
        for threads in (1, count, 1):
            result = run(worker, settings={"threads": threads, "threads-batch": count})
            self.assertEqual(result["effective"], {"threads": threads, "threads-batch": count})
        fault = self.fails("invalid_setting", run, worker, settings={"threads": 0})
        self.assertEqual(fault.knob, "threads")
        self.assertEqual(self.fails("invalid_setting", run, worker, settings={"batch-size": 64}).knob, "batch-size")

    def test_prompts_are_never_written_anywhere(self):
        canary = 137
        worker = self.prepared()
        run(worker, tokens={"ids": [canary] * 40})
        worker.call("tokenize", text="CANARY-4711 the cat")
        self.fails("invalid_setting", run, worker, tokens={"ids": [100137]})
        worker.call("shutdown")
        worker.process.wait(timeout=30)
        said = bytes(worker.errors)
        self.assertNotIn(b"CANARY", said)
        self.assertNotIn(b"137, 137", said)


class Contexts(Case):
    def test_the_context_is_padded_and_batches_are_cut_to_it(self):
        worker = self.worker()
        worker.call("load", model=self.llama, settings={})
        settings = {"batch-size": 2048, "ubatch-size": 512, "flash-attn": "auto", "cache-type-k": "q8_0", "threads": 1}
        answer = worker.call("prepare", settings=settings, context_tokens=300, sequences=1)
        self.assertEqual(answer["context_tokens"], 512)
        self.assertEqual(answer["effective"], {"batch-size": 300, "ubatch-size": 300, "flash-attn": "on", "cache-type-k": "q8_0",
                                               "threads": 1})
        self.assertGreater(answer["prepare_ns"], 0)

    def test_settings_that_cannot_be_name_their_knob(self):
        worker = self.worker()
        worker.call("load", model=self.llama, settings={})
        prepare = {"context_tokens": 512, "sequences": 1}
        cases = (
            ("unsupported", "cache-type-v", {"flash-attn": "off", "cache-type-v": "q8_0"}),
            ("unsupported", "swa-full", {"swa-full": "on"}),
            ("invalid_setting", "cache-type-k", {"cache-type-k": "q3_0"}),
            ("invalid_setting", "batch-sise", {"batch-sise": 64}),
            ("invalid_setting", "ubatch-size", {"ubatch-size": 0}),
            ("invalid_setting", "repack", {"repack": "off"}),
        )
        for kind, knob, settings in cases:
            self.assertEqual(self.fails(kind, worker.call, "prepare", settings=settings, **prepare).knob, knob)
        self.fails("unsupported", worker.call, "prepare", settings={}, context_tokens=512, sequences=1000)
        self.fails("invalid_setting", worker.call, "prepare", settings={}, context_tokens=0, sequences=1)
        with self.assertRaises(Fault):
            run(worker)
        worker.call("prepare", settings={}, **prepare)
        self.assertEqual(run(worker)["status"], "ok")

    def test_a_context_is_replaced_and_released(self):
        worker = self.prepared()
        worker.call("prepare", settings={"flash-attn": "off"}, context_tokens=512, sequences=1)
        self.assertEqual(run(worker)["status"], "ok")
        worker.call("release", what="context")
        with self.assertRaises(Fault):
            run(worker)
        worker.call("prepare", settings={}, context_tokens=512, sequences=1)
        worker.call("release", what="model")
        with self.assertRaises(Fault):
            worker.call("prepare", settings={}, context_tokens=512, sequences=1)
        self.fails("invalid_setting", worker.call, "release", what="memory")

    def test_describing_another_model_takes_the_context_away(self):
        worker = self.prepared()
        self.assertNotIn("memory_model", worker.call("describe", model=self.llama))
        self.assertEqual(run(worker)["status"], "ok")
        worker.call("describe", model=self.gemma)
        self.fails("invalid_setting", run, worker)
        self.fails("invalid_setting", worker.call, "prepare", settings={}, context_tokens=512, sequences=1)
        worker.call("load", model=self.gemma, settings={})

    def test_a_window_refuses_marks_unless_its_cache_is_full(self):
        worker = self.worker()
        answer = worker.call("describe", model=self.gemma)
        self.assertFalse(answer["model"]["marks"])
        self.assertEqual(answer["model"]["window_tokens"], 64)
        self.assertEqual([g["window_tokens"] for g in answer["memory_model"]["kv_groups"]], [0, 64])
        self.assertIn("swa-full", [knob["name"] for knob in answer["knobs"]])
        worker.call("load", model=self.gemma, settings={})
        marks = [{"prompt_tokens": 100, "output_tokens": 2}, {"prompt_tokens": 300, "output_tokens": 2}]
        worker.call("prepare", settings={}, context_tokens=512, sequences=1)
        self.assertEqual(self.fails("unsupported", run, worker, prompt=300, marks=marks).knob, "marks")
        self.assertEqual(run(worker, prompt=300)["status"], "ok")
        worker.call("prepare", settings={"swa-full": "on"}, context_tokens=512, sequences=1)
        self.assertEqual(len(run(worker, prompt=300, marks=marks)["marks"]), 2)

    def test_learnt_positions_are_not_run_past(self):
        gpt2 = {"model_type": "gpt2", "n_layer": 1, "n_embd": 64, "n_head": 2, "vocab_size": 512, "n_positions": 256}
        worker = self.prepared(model=self.model("gpt2", gpt2), context_tokens=512)
        self.assertEqual(run(worker, prompt=249, output=8)["status"], "ok")
        self.assertIn("256", self.fails("invalid_setting", run, worker, prompt=250, output=8).detail)


class Processes(Case):
    def test_settings_of_the_process_are_confirmed_at_load(self):
        worker = self.worker("--prio", "0", GOMP_SPINCOUNT="1000")
        effective = worker.call("load", model=self.llama, settings={"load-mode": "none", "repack": "off"})["effective"]
        self.assertEqual(effective["GOMP_SPINCOUNT"], 1000)
        self.assertEqual(effective["prio"], 0)
        self.assertEqual((effective["load-mode"], effective["repack"]), ("none", "off"))
        worker.call("load", model=self.llama, settings={"GOMP_SPINCOUNT": 1000})
        fault = self.fails("invalid_setting", worker.call, "load", model=self.llama, settings={"GOMP_SPINCOUNT": 5})
        self.assertEqual(fault.knob, "GOMP_SPINCOUNT")
        self.assertEqual(worker.call("load", model=self.llama, settings={"load-mode": "auto"})["effective"]["load-mode"], "mmap")

    def test_a_strange_environment_does_not_stop_the_worker(self):
        worker = self.worker(GOMP_SPINCOUNT="INFINITY")
        self.assertEqual(worker.call("load", model=self.llama, settings={})["effective"]["GOMP_SPINCOUNT"], -1)

    def test_an_unknown_argument_ends_the_worker(self):
        worker = Worker(PROGRAM, "--bananas", "3")
        self.addCleanup(worker.__exit__)
        self.assertEqual(worker.process.wait(timeout=30), 2)

    def test_memory_is_told_with_its_source_and_can_start_over(self):
        wide = dict(LLAMA, num_hidden_layers=4, num_key_value_heads=2, head_dim=128)
        # AddressSanitizer would keep what is freed for a while.
        worker = self.worker(ASAN_OPTIONS="quarantine_size_mb=1")
        worker.call("load", model=self.model("wide", wide), settings={})
        first = worker.call("resources", reset=True)["host"]
        self.assertEqual(first["source"], "VmHWM")
        self.assertGreaterEqual(first["peak_bytes"], first["current_bytes"])
        worker.call("prepare", settings={}, context_tokens=32768, sequences=1)
        run(worker)
        kv = 4 * 32768 * 2 * 256 * 2
        high = worker.call("resources")["host"]
        self.assertGreater(high["peak_bytes"] - first["current_bytes"], 0.9 * kv)
        worker.call("release", what="context")
        low = worker.call("resources", reset=True)["host"]
        self.assertLess(low["peak_bytes"], high["peak_bytes"] - 0.5 * kv)

    def test_text_becomes_the_tokens_of_the_model(self):
        worker = self.worker()
        self.fails("invalid_setting", worker.call, "tokenize", text="a")
        worker.call("describe", model=self.llama)
        self.assertEqual(worker.call("tokenize", text="the cat")["ids"], [257, 32, 99, 97, 116])
        worker.call("load", model=self.llama, settings={})
        self.assertEqual(worker.call("tokenize", text="th\u00e9")["ids"], [256, 0xC3, 0xA9])
        self.assertEqual(worker.call("tokenize", text="")["ids"], [])
        self.fails("invalid_setting", worker.call, "tokenize", text=5)

    def test_the_worker_ends_with_its_input(self):
        worker = self.prepared()
        worker.process.stdin.close()
        self.assertEqual(worker.process.wait(timeout=60), 0)

    def test_shutdown_answers_and_ends(self):
        worker = self.prepared()
        worker.call("shutdown")
        self.assertEqual(worker.process.wait(timeout=60), 0)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main(verbosity=1)
