"""`python -m iris_training`."""

import sys

from iris_training.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
