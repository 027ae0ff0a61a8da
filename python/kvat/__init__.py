"""kvat finds, by measuring, the best KV-cache and attention settings of a language model for one machine and one workload."""

from importlib.metadata import version as _version

from .core.planner import PlanBuilder
from .core.profiles import create_custom_profile, get_profile, list_profiles
from .core.progress import Progress
from .core.result import Candidate, Cell, Confidence, Figures, Gain, Interval, Plan, TuneResult
from .core.schema import DeviceType, TuneConfig, WorkloadProfile
from .core.search import TuningSearch
from .engines.base import DeviceMemory, EngineAdapter, EngineError, Knob, ModelInfo, Resources
from .engines.installed import Engine, InstalledEngine
from .engines.transformers import TransformersAdapter
from .errors import (
    BadDataError,
    BusyError,
    EngineUnavailableError,
    Interrupted,
    KvatError,
    KvatWarning,
    NothingWorksError,
    StorageError,
    UndecidedError,
    UsageError,
)
from .patching import Undo, patch

__version__ = _version("kvat")

__all__ = [
    "BadDataError",
    "BusyError",
    "Candidate",
    "Cell",
    "Confidence",
    "DeviceMemory",
    "DeviceType",
    "Engine",
    "EngineAdapter",
    "EngineError",
    "EngineUnavailableError",
    "Figures",
    "Gain",
    "InstalledEngine",
    "Interrupted",
    "Interval",
    "Knob",
    "KvatError",
    "KvatWarning",
    "ModelInfo",
    "NothingWorksError",
    "Plan",
    "PlanBuilder",
    "Progress",
    "Resources",
    "StorageError",
    "TransformersAdapter",
    "TuneConfig",
    "TuneResult",
    "TuningSearch",
    "UndecidedError",
    "Undo",
    "UsageError",
    "WorkloadProfile",
    "create_custom_profile",
    "get_profile",
    "list_profiles",
    "patch",
]
