"""The servers that are measured. Adding one is a function that starts it and an entry in SERVERS."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bench.inference.environments import BENTOML, DEVELOPMENT, MLSERVER, python, scripts
from bench.inference.estimators import FOREST, LOGISTIC, saved_model
from bench.inference.forms import json_instances, v2_tensor
from bench.inference.server import LaunchCommand, Sandbox, ServerSpec

OURS: Final = "ours"
MODEL_VERSION: Final = "1.0.0"
# Large batches arrive faster than PostgreSQL stores their rows on the core that it shares with the load. With the
# default limit the service would answer 503 after some seconds.
SPOOL_BYTES: Final = 1024**3


def exported_model_dir(models: Path, model: str) -> Path:
    """The folder with a model exported for our service."""
    return models / "exported" / model


def _uvicorn(
    application: str, model_file: Callable[[Sandbox], Path] | None = None
) -> Callable[[Sandbox], LaunchCommand]:
    def start(place: Sandbox) -> LaunchCommand:
        command = [
            str(python(DEVELOPMENT)), "-m", "uvicorn", f"bench.inference.baselines.{application}:app",
            "--host", "127.0.0.1", "--port", str(place.ports[0]), "--loop", "uvloop", "--http", "httptools",
            "--lifespan", "off", "--no-access-log", "--log-level", "warning",
        ]  # fmt: skip
        return LaunchCommand(command, {"MODEL_FILE": str(model_file(place))} if model_file else {})

    return start


def _plain(model: str) -> Callable[[Sandbox], LaunchCommand]:
    return _uvicorn("plain", lambda place: saved_model(place.model_dir / DEVELOPMENT, model))


def _mlserver(model: str) -> Callable[[Sandbox], LaunchCommand]:
    def start(place: Sandbox) -> LaunchCommand:
        http, grpc, metrics = place.ports
        ports = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
        # Otherwise it logs every request, and runs the model in a second process on the same core.
        faster = {"debug": False, "parallel_workers": 0}
        _write(place.folder / "settings.json", {**ports, **faster})
        parameters = {"uri": str(saved_model(place.model_dir / MLSERVER, model)), "version": MODEL_VERSION}
        runtime = "mlserver_sklearn.SKLearnModel"
        settings = {"name": "iris", "implementation": runtime, "parameters": parameters}
        _write(place.folder / "iris" / "model-settings.json", settings)
        return LaunchCommand([str(scripts(MLSERVER) / "mlserver"), "start", str(place.folder)], {})

    return start


def _bentoml(model: str) -> Callable[[Sandbox], LaunchCommand]:
    def start(place: Sandbox) -> LaunchCommand:
        command = [
            str(scripts(BENTOML) / "bentoml"), "serve", "bench.inference.baselines.bento:Iris",
            "--host", "127.0.0.1", "--port", str(place.ports[0]),
        ]  # fmt: skip
        model_file = str(saved_model(place.model_dir / BENTOML, model))
        return LaunchCommand(command, {"MODEL_FILE": model_file, "BENTOML_DO_NOT_TRACK": "True"})

    return start


def _ours(model: str) -> Callable[[Sandbox], LaunchCommand]:
    def start(place: Sandbox) -> LaunchCommand:
        return LaunchCommand(
            [str(python(DEVELOPMENT)), "-m", "iris_inference"],
            {
                "IRIS_MODEL_DIR": str(exported_model_dir(place.model_dir, model)),
                "IRIS_HOST": "127.0.0.1",
                "IRIS_PORT": str(place.ports[0]),
                "IRIS_METRICS_PORT": str(place.ports[1]),
                "IRIS_SPOOL_DIR": str(place.folder / "spool"),
                "IRIS_SPOOL_MAX_BYTES": str(SPOOL_BYTES),
            },
        )

    return start


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


_PREDICT: Final = json_instances("/predict")
_V2: Final = v2_tensor("/v2/models/iris/infer")
_V1: Final = json_instances("/v1/predict")

SERVERS: Final = {
    server.name: server
    for server in (
        ServerSpec("bare", DEVELOPMENT, None, _uvicorn("bare"), _PREDICT),
        ServerSpec(
            "onnx-asgi", DEVELOPMENT, LOGISTIC,
            _uvicorn("onnx_asgi", lambda place: exported_model_dir(place.model_dir, LOGISTIC) / "model.onnx"), _PREDICT,
        ),
        ServerSpec("plain", DEVELOPMENT, LOGISTIC, _plain(LOGISTIC), json_instances("/predict", "class_index")),
        ServerSpec("plain-forest", DEVELOPMENT, FOREST, _plain(FOREST), json_instances("/predict", "class_index")),
        ServerSpec("mlserver", MLSERVER, LOGISTIC, _mlserver(LOGISTIC), _V2),
        ServerSpec("mlserver-forest", MLSERVER, FOREST, _mlserver(FOREST), _V2),
        ServerSpec("bentoml", BENTOML, LOGISTIC, _bentoml(LOGISTIC), _PREDICT),
        ServerSpec("bentoml-forest", BENTOML, FOREST, _bentoml(FOREST), _PREDICT),
        ServerSpec(OURS, DEVELOPMENT, LOGISTIC, _ours(LOGISTIC), _V1, has_stores=True),
        ServerSpec(f"{OURS}-forest", DEVELOPMENT, FOREST, _ours(FOREST), _V1, has_stores=True),
    )
}  # fmt: skip
