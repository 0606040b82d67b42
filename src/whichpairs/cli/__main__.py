"""`python -m whichpairs.cli`."""

from whichpairs.cli.main import main

main()
