"""What is asked of a run: device, workload, and everything `kvat tune` can be told."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

Value = str | int  # of a setting
PathLike = str | os.PathLike[str]


class DeviceType(str, Enum):
    """Where the model runs. An engine's own name such as "cuda:1" may be given as a string.

    AUTO, and so "auto", leaves it to the engine's default. A device that an engine itself calls auto, as Transformers does a
    model spread over several GPUs, is asked for by `settings={"device": "auto"}`.
    """

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


@dataclass(frozen=True)
class WorkloadProfile:
    """Prompt and output lengths in tokens, and what "better" weighs: the weights sum to 1."""

    name: str
    context_lengths: tuple[int, ...]
    output_lengths: tuple[int, ...]
    weight_ttft: float
    weight_throughput: float
    weight_memory: float
    description: str = ""
    batch_sizes: tuple[int, ...] = (1,)
    runs: int = 1
    warmup: int = 0

    @classmethod
    def from_json(cls, profile: Mapping[str, Any]) -> WorkloadProfile:
        """From a profile as `kvat profiles --json` prints it."""
        weights = profile["weights"]
        return cls(
            name=profile["name"],
            context_lengths=tuple(profile["context"]),
            output_lengths=tuple(profile["output_tokens"]),
            weight_ttft=weights["ttft"],
            weight_throughput=weights["decode"],
            weight_memory=weights["memory"],
            description=profile["description"],
            batch_sizes=tuple(profile["batch"]),
            runs=profile["runs"],
            warmup=profile["warmup"],
        )

    def to_json(self) -> dict[str, Any]:
        """As schemas/profile.schema.json describes it."""
        return {
            "name": self.name,
            "description": self.description,
            "context": list(self.context_lengths),
            "output_tokens": list(self.output_lengths),
            "batch": list(self.batch_sizes),
            "weights": {"ttft": self.weight_ttft, "decode": self.weight_throughput, "memory": self.weight_memory},
            "runs": self.runs,
            "warmup": self.warmup,
        }


@dataclass
class TuneConfig:
    """A request. Whatever is None is left to kvat, whose `kvat tune --help` says what it then does.

    `model_id` is what the engine takes as a model: a name on the hub, a folder, a GGUF file. Nothing here is checked until a
    run begins: then what contradicts itself raises `UsageError`, and damaged files raise `BadDataError`.
    """

    model_id: PathLike
    device: DeviceType | str = DeviceType.AUTO
    profile: WorkloadProfile | PathLike = "chat-agent"  # of kvat, of your own, or a JSON file
    output_dir: PathLike = "kvat_results"

    context_lengths: Sequence[int] | None = None  # in tokens, instead of the profile's
    output_lengths: Sequence[int] | None = None
    batch_sizes: Sequence[int] | None = None  # equal prompts at once
    prompts_file: PathLike | None = None  # text of your own, of which only lengths and hashes are kept

    settings: Mapping[str, Value] = field(default_factory=dict)  # fixed for every configuration
    sweep: Mapping[str, Sequence[Value] | None] = field(default_factory=dict)  # tried: these values, or all (None)
    sweep_all: bool = False  # every value of every setting
    safe: bool = False  # only values that the engine calls stable
    allow_lossy: bool = False  # lossy values too; they never win and are marked unverified
    max_memory_bytes: int | None = None
    allow_network: bool = False  # the engine may download the model
    trust_remote_code: bool = False  # the engine may run code that comes with the model, and plan and reports then say so

    time_budget_s: float | None = None
    trials: int | None = None  # most runs of the search
    trial_limit_s: float | None = None  # most one run may take
    runs: int | None = None  # least measured runs of every survivor
    warmup: int | None = None
    whole_outputs: bool = False
    delta: float | None = None  # differences below this share count as equal
    confidence: float | None = None  # wanted chance that the answer is within delta of the best
    search: str | None = None  # "model" or "race"
    seed: int | None = None
    world_seed: int | None = None  # of a simulated machine's noise

    winners_dir: PathLike | None = None  # where winners are remembered; "none": nothing is
    launch: str | None = None  # starts the worker with this in front, as `srun -N1`
    fresh: bool = False  # measure again instead of resuming or repeating an earlier run
    force: bool = False  # replace files in output_dir that kvat did not write
    extra_arguments: Sequence[str] = ()  # further words for `kvat tune`

    def arguments(self) -> list[str]:
        """The words for `kvat tune`, but for engine and profile."""
        words: list[str] = []
        device = self.device.value if isinstance(self.device, DeviceType) else self.device
        texts = {
            "--output": os.fspath(self.output_dir),
            "--device": None if device == DeviceType.AUTO.value else device,
            "--context": _list_of(self.context_lengths),
            "--output-tokens": _list_of(self.output_lengths),
            "--batch": _list_of(self.batch_sizes),
            "--prompts": None if self.prompts_file is None else os.fspath(self.prompts_file),
            "--max-memory": self.max_memory_bytes,
            "--time": _seconds(self.time_budget_s),
            "--trials": self.trials,
            "--trial-limit": _seconds(self.trial_limit_s),
            "--runs": self.runs,
            "--warmup": self.warmup,
            "--delta": self.delta,
            "--confidence": self.confidence,
            "--search": self.search,
            "--seed": self.seed,
            "--world-seed": self.world_seed,
            "--winners": None if self.winners_dir is None else os.fspath(self.winners_dir),
            "--launch": self.launch,
        }
        words += [f"{option}={value}" for option, value in texts.items() if value is not None]
        words += [f"--set={name}={value}" for name, value in self.settings.items()]
        words += [f"--sweep={name}" + ("" if values is None else f"={_list_of(values)}") for name, values in self.sweep.items()]
        words += ["--sweep=all"] if self.sweep_all else []
        flags = {
            "--safe": self.safe,
            "--allow-lossy": self.allow_lossy,
            "--allow-network": self.allow_network,
            "--trust-remote-code": self.trust_remote_code,
            "--whole-outputs": self.whole_outputs,
            "--fresh": self.fresh,
            "--force": self.force,
        }
        words += [flag for flag, on in flags.items() if on]
        # Last, and after "--model=", so that no name is taken for an option.
        return [*words, *self.extra_arguments, f"--model={os.fspath(self.model_id)}"]


def _list_of(values: Sequence[Value] | None) -> str | None:
    return None if values is None else ",".join(str(value) for value in values)


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{round(value * 1000)}ms"
