"""The program of the seeds' README, word for word but for model, workload and engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import kvat

README = """
from kvat.core.schema import TuneConfig, DeviceType
from kvat.core.profiles import get_profile
from kvat.engines.transformers import TransformersAdapter
from kvat.core.search import TuningSearch
from kvat.core.planner import PlanBuilder

# Configure tuning
config = TuneConfig(
    model_id="meta-llama/Llama-3.2-1B",
    device=DeviceType.CUDA,
    profile=get_profile("chat-agent"),
    output_dir="./results",
)

# Run optimization
adapter = TransformersAdapter()
search = TuningSearch(config=config, adapter=adapter)
result = search.run()

# Get production-ready code
planner = PlanBuilder(result)
print(planner.generate_code_snippet())
"""

CUSTOM_PROFILE = """
from kvat.core.profiles import create_custom_profile

profile = create_custom_profile(
    name="my-workload",
    context_lengths=[4096, 8192],
    output_lengths=[256, 512],
    weight_ttft=0.4,
    weight_throughput=0.4,
    weight_memory=0.2,
)
"""


def with_changes(text: str, **changes: str) -> str:
    for old, new in {"from kvat.engines.transformers import TransformersAdapter": changes.pop("adapter"), **changes}.items():
        assert old in text
        text = text.replace(old, new)
    return text


def run(code: str) -> subprocess.CompletedProcess[str]:
    Path("script.py").write_text(code)
    paths = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, "script.py"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)


def test_with_an_engine_of_ones_own() -> None:
    """chat-agent, whose every cell is measured; on a virtual clock."""
    script = with_changes(README, adapter="from toy_engine import MarkingEngine as TransformersAdapter", CUDA="CPU")
    done = run(script)
    assert done.returncode == 0, done.stderr
    assert "Best: pace brisk" in done.stdout
    assert {"best_plan.json", "report.html", "report.md"} <= {path.name for path in Path("results").iterdir()}
    exec(compile(done.stdout, "snippet.py", "exec"), {"__name__": "snippet"})


def test_without_pytorch_it_ends_with_one_line_that_says_what_to_install() -> None:
    done = run(README)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("pip install 'kvat[transformers]'")
    assert not Path("results").exists()


def test_every_name_is_at_the_top_level_too() -> None:
    names = re.findall(r"^from kvat\.\S+ import (.*)$", README, re.MULTILINE)
    wanted = {name for line in names for name in line.split(", ")}
    assert wanted | {"EngineAdapter", "create_custom_profile", "list_profiles", "patch"} <= set(kvat.__all__)
    assert all(hasattr(kvat, name) for name in kvat.__all__)


def test_the_custom_profile_of_the_seeds() -> None:
    scope: dict[str, object] = {}
    exec(CUSTOM_PROFILE, scope)
    profile = scope["profile"]
    assert isinstance(profile, kvat.WorkloadProfile)
    assert (profile.weight_throughput, profile.output_lengths) == (0.4, (256, 512))
