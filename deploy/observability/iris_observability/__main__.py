"""Entry point of ``python -m iris_observability``."""

import sys

from iris_observability.cli import main

if __name__ == "__main__":
    sys.exit(main())
