"""The OpenAPI document is correct: Schemathesis, from PyPI, tries what it allows and what it forbids."""

import os
import subprocess
import sys
from pathlib import Path

from support.inference.keys import new_key
from support.inference.models import Exported
from support.inference.serving import Serve

TESTS = Path(__file__).parents[3]


def test_schemathesis_finds_no_contradiction_to_the_document(
    exported: Exported, serve: Serve, redis_url: str, postgres_url: str, tmp_path: Path
) -> None:
    key = new_key(postgres_url)
    service = serve(exported("1.0.0"), REDIS_URL=redis_url, DATABASE_URL=postgres_url, auth="required")
    schemathesis = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{service.url}/openapi.json", "--no-color"),
        *("--max-examples", "20", "--generation-deterministic"),
        # Among what it tries is every protected operation without the key and with a wrong one, which must be 401.
        *("--header", f"Authorization: Bearer {key.text}"),
    ]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(TESTS),
        "SCHEMATHESIS_HOOKS": "support.inference.document_hooks",
    }
    found = subprocess.run(
        schemathesis, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "13 selected / 13 total" in found.stdout
