import sys

from iris_install.cli import main

if __name__ == "__main__":
    sys.exit(main())
