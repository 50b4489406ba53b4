"""Tests of the Python package. `make python` runs them; `$REWIND` names the program."""
