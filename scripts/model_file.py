"""Prints the model file that `kvat engines --model MODEL --json`, read from standard input, says it would run."""

import json
import sys


def find(value: object) -> str | None:
    if isinstance(value, dict):
        model = value.get("model")
        if isinstance(model, dict) and isinstance(model.get("file"), str):
            return model["file"]
        value = list(value.values())
    if isinstance(value, list):
        return next((file for file in map(find, value) if file), None)
    return None


file = find(json.load(sys.stdin))
if not file:
    sys.exit("model_file: no engine names a file for this model")
print(file)
