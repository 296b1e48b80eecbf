"""Who is measured. Adding a server is one function that starts it and one entry in CONTESTANTS."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bench.inference.contestant import Contestant, Place, Start
from bench.inference.environments import BENTOML, DEVELOPMENT, MLSERVER, python, scripts
from bench.inference.estimators import FOREST, LOGISTIC, saved
from bench.inference.forms import instances, tensor

OURS: Final = "ours"
MODEL_VERSION: Final = "1.0.0"
# Large batches come faster than PostgreSQL takes their rows on the core that it shares with the load. By default the
# service would say so, with 503, after some seconds.
SPOOL_BYTES: Final = 1024**3


def exported(models: Path, model: str) -> Path:
    """The folder with a model in the form that our service reads."""
    return models / "exported" / model


def _uvicorn(application: str, model_file: Callable[[Place], Path] | None = None) -> Callable[[Place], Start]:
    def start(place: Place) -> Start:
        command = [
            str(python(DEVELOPMENT)), "-m", "uvicorn", f"bench.inference.rivals.{application}:app",
            "--host", "127.0.0.1", "--port", str(place.ports[0]), "--loop", "uvloop", "--http", "httptools",
            "--lifespan", "off", "--no-access-log", "--log-level", "warning",
        ]  # fmt: skip
        return Start(command, {"MODEL_FILE": str(model_file(place))} if model_file else {})

    return start


def _plain(model: str) -> Callable[[Place], Start]:
    return _uvicorn("plain", lambda place: saved(place.models / DEVELOPMENT, model))


def _mlserver(model: str) -> Callable[[Place], Start]:
    def start(place: Place) -> Start:
        http, grpc, metrics = place.ports
        ports = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
        # Otherwise it writes a line for each request, and calculates in a second process on the same core.
        faster = {"debug": False, "parallel_workers": 0}
        _write(place.folder / "settings.json", {**ports, **faster})
        parameters = {"uri": str(saved(place.models / MLSERVER, model)), "version": MODEL_VERSION}
        runtime = "mlserver_sklearn.SKLearnModel"
        settings = {"name": "iris", "implementation": runtime, "parameters": parameters}
        _write(place.folder / "iris" / "model-settings.json", settings)
        return Start([str(scripts(MLSERVER) / "mlserver"), "start", str(place.folder)], {})

    return start


def _bentoml(model: str) -> Callable[[Place], Start]:
    def start(place: Place) -> Start:
        command = [
            str(scripts(BENTOML) / "bentoml"), "serve", "bench.inference.rivals.bento:Iris",
            "--host", "127.0.0.1", "--port", str(place.ports[0]),
        ]  # fmt: skip
        model_file = str(saved(place.models / BENTOML, model))
        return Start(command, {"MODEL_FILE": model_file, "BENTOML_DO_NOT_TRACK": "True"})

    return start


def _ours(model: str) -> Callable[[Place], Start]:
    def start(place: Place) -> Start:
        return Start(
            [str(python(DEVELOPMENT)), "-m", "iris_inference"],
            {
                "IRIS_MODEL_DIR": str(exported(place.models, model)),
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


_PREDICT: Final = instances("/predict")
_V2: Final = tensor("/v2/models/iris/infer")
_V1: Final = instances("/v1/predict")

CONTESTANTS: Final = {
    contestant.name: contestant
    for contestant in (
        Contestant("bare", DEVELOPMENT, None, _uvicorn("bare"), _PREDICT),
        Contestant(
            "onnx-asgi", DEVELOPMENT, LOGISTIC,
            _uvicorn("onnx_asgi", lambda place: exported(place.models, LOGISTIC) / "model.onnx"), _PREDICT,
        ),
        Contestant("plain", DEVELOPMENT, LOGISTIC, _plain(LOGISTIC), instances("/predict", "class_index")),
        Contestant("plain-forest", DEVELOPMENT, FOREST, _plain(FOREST), instances("/predict", "class_index")),
        Contestant("mlserver", MLSERVER, LOGISTIC, _mlserver(LOGISTIC), _V2),
        Contestant("mlserver-forest", MLSERVER, FOREST, _mlserver(FOREST), _V2),
        Contestant("bentoml", BENTOML, LOGISTIC, _bentoml(LOGISTIC), _PREDICT),
        Contestant("bentoml-forest", BENTOML, FOREST, _bentoml(FOREST), _PREDICT),
        Contestant(OURS, DEVELOPMENT, LOGISTIC, _ours(LOGISTIC), _V1, has_stores=True),
        Contestant(f"{OURS}-forest", DEVELOPMENT, FOREST, _ours(FOREST), _V1, has_stores=True),
    )
}  # fmt: skip
