"""`python -m iris_inference`."""

import sys

from iris_inference.main import main

if __name__ == "__main__":
    sys.exit(main())
