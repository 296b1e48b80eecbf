from iris_local.cli import main

raise SystemExit(main())
