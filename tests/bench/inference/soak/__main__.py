"""`python -m bench.inference.soak`."""

import sys

from bench.inference.soak.cli import main

if __name__ == "__main__":
    sys.exit(main())
