import hashlib
import json
from bisect import bisect_left

import numpy as np
import onnx
import pytest

from iris_inference.api.schemas import FEATURES
from iris_inference.model.artifact import ArtifactError, read_artifact, read_manifest
from iris_inference.model.runtime import Model, pack
from iris_training import cli, dataset, parity
from iris_training.distribution import bin_values
from iris_training.export import export
from iris_training.recipes import RECIPES
from support.inference.models import Exported


def load(exported: Exported, recipe: str) -> Model:
    folder = exported(recipe)
    return Model(read_artifact(folder, read_manifest(folder)), FEATURES)


def test_training_and_service_agree_on_the_features_of_a_request() -> None:
    assert dataset.FEATURES == FEATURES


def labels_of(model: Model) -> list[int]:
    instances = [tuple(map(float, row)) for row in dataset.load_dataset().features]
    return [prediction.class_index for prediction in model.predict(pack(instances))]


def correct(labels: list[int]) -> int:
    return sum(label == true for label, true in zip(labels, dataset.load_dataset().labels.tolist(), strict=True))


def recorded_accuracy(exported: Exported, recipe: str) -> float:
    manifest = json.loads((exported(recipe) / "manifest.json").read_text())
    return float(manifest["training"]["cross_validated_accuracy"])


@pytest.mark.parametrize("recipe", ["1.0.0", "2.0.0", "4.0.0", "6.0.0", "6.1.0", "9.0.0"])
def test_a_model_that_loads_labels_the_data_set_well(exported: Exported, recipe: str) -> None:
    assert correct(labels_of(load(exported, recipe))) >= 144


def test_the_model_with_a_fifth_feature_loads(exported: Exported) -> None:
    assert load(exported, "3.0.0").missing_features == ("petal_area",)


def test_the_slow_model_is_slower_by_far_more_than_noise(exported: Exported) -> None:
    assert load(exported, "4.0.0").inference_seconds > 100 * load(exported, "2.0.0").inference_seconds


def test_the_truncated_file_does_not_match_its_manifest(exported: Exported) -> None:
    folder = exported("5.0.0")
    manifest = read_manifest(folder)
    assert (folder / "model.onnx").stat().st_size < manifest.size_bytes
    with pytest.raises(ArtifactError, match=manifest.sha256):
        read_artifact(folder, manifest)


def test_swapped_labels_swap_the_predictions_and_are_invisible_in_training(exported: Exported) -> None:
    sound, swapped = load(exported, "6.0.0"), load(exported, "7.0.0")
    assert labels_of(swapped) == [2 - label for label in labels_of(sound)]
    assert recorded_accuracy(exported, "7.0.0") == recorded_accuracy(exported, "6.0.0")


def test_without_petals_a_model_serves_every_request_and_confuses_two_classes_equally(exported: Exported) -> None:
    model = load(exported, "8.0.0")
    assert not model.missing_features
    labels = labels_of(model)
    assert 110 <= correct(labels) <= 130
    # The counts of the predicted classes stay equal: only true labels reveal the defect.
    assert max(abs(labels.count(kind) - 50) for kind in range(3)) <= 5


def test_the_slower_model_does_six_times_the_work_for_each_answer(exported: Exported) -> None:
    assert reference_flowers(exported, "9.0.0") == reference_flowers(exported, "6.0.0") * 6


def reference_flowers(exported: Exported, recipe: str) -> int:
    graph = onnx.load(exported(recipe) / "model.onnx").graph
    (rows,) = [tensor.dims[0] for tensor in graph.initializer if len(tensor.dims) == 2 and tensor.dims[1] == 4]
    return int(rows)


def test_the_same_recipe_gives_the_same_bytes(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> None:
    again = tmp_path_factory.mktemp("again")
    export(RECIPES["2.0.0"], "2.0.0", again)
    assert (again / "model.onnx").read_bytes() == (exported("2.0.0") / "model.onnx").read_bytes()


def test_operator_sets_are_sorted_in_the_file(exported: Exported) -> None:
    for recipe in ("1.0.0", "2.0.0", "4.0.0"):
        domains = [operator_set.domain for operator_set in onnx.load(exported(recipe) / "model.onnx").opset_import]
        assert domains == sorted(domains)


def test_an_export_that_predicts_differently_is_rejected(exported: Exported) -> None:
    recipe = RECIPES["1.0.0"]
    trained = recipe.fit(dataset.load_dataset())
    own, other = (exported(name) / "model.onnx" for name in ("1.0.0", "2.0.0"))
    assert parity.check(own.read_bytes(), trained, recipe.derive).max_probability_difference < 1e-5
    with pytest.raises(parity.ParityError, match="labels differ"):
        parity.check(other.read_bytes(), trained, recipe.derive)


def test_the_command_writes_the_given_version(tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("out") / "new"
    assert cli.main(["export", "--recipe", "1.0.0", "--version", "1.0.1-rc.1", "--out", str(out)]) == 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["version"] == "1.0.1-rc.1"
    assert manifest["sha256"] == hashlib.sha256((out / "model.onnx").read_bytes()).hexdigest()


def test_the_help_explains_the_export(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["export", "--help"])
    shown = capsys.readouterr().out
    assert "--recipe" in shown
    assert "SHA-256" in shown


def test_an_unknown_recipe_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["export", "--recipe", "9.9.9", "--out", "x"])
    assert "1.0.0" in capsys.readouterr().err


def test_the_manifest_has_the_quartiles_of_the_training_data(exported: Exported) -> None:
    """Counted as in the service, with the digits that a request has."""
    written = read_manifest(exported("1.0.0")).training.features
    assert tuple(written) == FEATURES
    for name, column in zip(FEATURES, dataset.load_dataset().features.T, strict=True):
        found = [0] * len(written[name].counts)
        for value in column:
            found[bisect_left(written[name].bounds, float(str(value)))] += 1
        assert tuple(found) == written[name].counts
        below, *quartiles, above = written[name].shares
        assert (below, above) == (0, 0)
        assert quartiles == pytest.approx([0.25] * 4, abs=0.1)


def test_the_manifest_describes_the_features_that_the_model_was_trained_on(exported: Exported) -> None:
    for recipe in ("3.0.0", "8.0.0"):
        manifest = read_manifest(exported(recipe))
        assert tuple(manifest.training.features) == manifest.features


@pytest.mark.parametrize(
    ("values", "counts"),
    [([3.0] * 5, [0, 5, 0]), ([0.0], [0, 1, 0]), ([0.0, 1.0, 1.0, 1.0], [0, 1, 3, 0]), (range(8), [0, 2, 2, 2, 2, 0])],
    ids=str,
)
def test_few_values_have_few_bins_and_all_are_between_the_outer_two(values: list[float], counts: list[int]) -> None:
    assert bin_values(np.array(values, dtype=np.float32))["counts"] == counts
