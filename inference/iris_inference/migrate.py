"""`python -m iris_inference.migrate`, as CronJobs and runbooks call it; the implementation is storage/migrate.py."""

import sys

from iris_inference.storage.migrate import main

if __name__ == "__main__":
    sys.exit(main())
