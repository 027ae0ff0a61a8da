"""The worker program: methods of the protocol over the engine."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from . import messages, warm
from .sources import allowed
from .wire import Fault, Params, Server, claim_stdout, out_of_order


def set_environment() -> None:
    """Before PyTorch or Transformers are loaded: nothing is fetched or told unless it was allowed."""
    if not allowed("KVAT_ALLOW_NETWORK"):
        os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    warm.tools_in_path()


class Worker:
    """Checks the order of requests and puts results into words of the protocol."""

    def __init__(self) -> None:
        self.engine: Any = None
        self.server: Server | None = None

    def methods(self) -> dict[str, Any]:
        names = ("initialize", "describe", "load", "prepare", "run", "resources", "tokenize", "release", "shutdown")
        return {name: self.stamped(getattr(self, name)) for name in names}

    @staticmethod
    def stamped(method: Any) -> Any:
        return lambda params: {**method(params), "now_ns": time.monotonic_ns()}

    def need_engine(self) -> Any:
        if self.engine is None:
            raise out_of_order("initialize comes first")
        return self.engine

    def initialize(self, params: Params) -> Params:
        messages.greet(params, self.engine is not None)
        try:
            import torch
            import transformers
        except ImportError as error:
            raise Fault("unsupported", f"{error}: {sys.executable} has it not; pip install torch transformers (or "
                                       "'kvat[transformers]'), or let KVAT_PYTHON name a Python that has them") from error  # fmt: skip
        if int(transformers.__version__.split(".")[0]) < 5:
            raise Fault("unsupported", f"transformers {transformers.__version__} is too old: 5.10 or newer is needed")
        transformers.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        warm.put_off_hqq()
        from .engine import Engine

        server = self.server
        self.engine = Engine(server.check_cancelled, server.progress) if server else Engine(lambda: None, lambda _: None)
        if server:
            server.after_failure = self.engine.memory.give_back
        flags = [f"CUDA {torch.version.cuda}"] if torch.version.cuda and torch.cuda.is_available() else []
        flags.append(f"CPU {torch.backends.cpu.get_cpu_capability()}")
        build = f"torch {torch.__version__}"
        engine = {"name": "transformers", "version": transformers.__version__, "build": build, "flags": flags}
        return {"protocol": 1, "clock": "real", "capabilities": ["marks", "repeats", "cancel", "tokenize"], "engine": engine}

    def describe(self, params: Params) -> Params:
        return self.need_engine().describe(params["model"])

    def load(self, params: Params) -> Params:
        return self.need_engine().load(params["model"], params.get("settings", {}))

    def prepare(self, params: Params) -> Params:
        sequences = int(params.get("sequences", 1))
        return self.need_engine().prepare(params.get("settings", {}), int(params["context_tokens"]), sequences)

    def run(self, params: Params) -> Params:
        from .runs import TimedOut
        from .settings import refuse_rest

        runner = self.need_engine().runner
        if runner is None:
            raise out_of_order("run before prepare")
        asked = messages.Run.of(params, runner.context.capacity_tokens, runner.context.sequences)
        settings = dict(asked.settings)
        named = runner.request.take(settings)
        refuse_rest(settings, "a request")
        try:
            start, measured = runner.run(asked.ids, asked.marks, asked.limit_ns)
        except TimedOut:
            return messages.timeout(time.monotonic_ns())
        self.engine.memory.sample()
        depths = [(each.ttft_ns, [burst.token_ns for burst in each.bursts]) for each in measured]
        return asked.result(start, {name: runner.seen[name] for name in named}, depths)

    def resources(self, params: Params) -> Params:
        memory = self.need_engine().memory
        if params.get("reset"):
            memory.reset()
        return memory.read()

    def tokenize(self, params: Params) -> Params:
        source = self.need_engine().source
        if source is None:
            raise out_of_order("tokenize before load")
        if not source.has_tokenizer:
            raise Fault("unsupported", "the model has no tokenizer")
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(source.folder, local_files_only=True, trust_remote_code=source.remote_code)
            return {"ids": tokenizer(params["text"], add_special_tokens=False)["input_ids"]}
        except Exception as error:
            # Only its type: a message could hold the text.
            raise Fault("bad_model", f"the model's tokenizer does not work ({type(error).__name__})") from None

    def release(self, params: Params) -> Params:
        engine = self.need_engine()
        if params.get("what") == "model":
            engine.release_model()
        else:
            engine.release_context()
        return {}

    def shutdown(self, params: Params) -> Params:
        return {}


def main() -> None:
    wire = claim_stdout()
    set_environment()
    worker = Worker()
    worker.server = Server(worker.methods(), wire)
    worker.server.serve()
    sys.stderr.flush()
    os._exit(0)  # at once: PyTorch's own exit may take seconds


if __name__ == "__main__":
    main()
