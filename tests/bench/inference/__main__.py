"""`python -m bench.inference`."""

import sys

from bench.inference.cli import main

if __name__ == "__main__":
    sys.exit(main())
