"""Adds up JUnit files of ctest and pytest and prints the one line "N passed, N failed[, N skipped]".

A ctest entry that ran a cmocka program counts with its TAP lines; any other counts as one test.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree


def tally(path: str) -> tuple[int, int, int]:
    passed = failed = skipped = 0
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        output = "".join(node.text or "" for node in case.findall("system-out"))
        ok = len(re.findall(r"^ok \d+", output, re.MULTILINE))
        not_ok = len(re.findall(r"^not ok \d+", output, re.MULTILINE))
        if case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            skipped += 1
        elif case.find("failure") is not None or case.find("error") is not None or case.get("status") == "fail":
            passed += ok
            failed += max(1, not_ok)
        else:
            passed += max(1, ok)
    return passed, failed, skipped


def main() -> int:
    totals = [sum(column) for column in zip(*(tally(path) for path in sys.argv[1:]))]
    if not totals or totals[0] == 0:
        print("0 passed, 1 failed")
        return 1
    passed, failed, skipped = totals
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
