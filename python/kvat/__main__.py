"""`python -m kvat` is the program `kvat`."""

from ._program import main

main()
