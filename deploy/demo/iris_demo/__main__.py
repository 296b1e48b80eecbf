"""Entry point of ``python -m iris_demo``."""

import sys

from iris_demo.cli import main

if __name__ == "__main__":
    sys.exit(main())
