"""Entry point of ``python -m bench.aa``."""

import sys

from bench.aa.cli import main

if __name__ == "__main__":
    sys.exit(main())
