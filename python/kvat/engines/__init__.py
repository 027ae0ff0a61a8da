"""Engines that kvat drives: those it brings along by name, and your own as subclasses of `EngineAdapter`."""
