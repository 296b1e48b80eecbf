from iris_inference.lifecycle import Lifecycle


def test_it_is_ready_only_between_loading_and_draining() -> None:
    lifecycle = Lifecycle()
    seen = [lifecycle.ready]
    lifecycle.loaded()
    seen.append(lifecycle.ready)
    lifecycle.drain()
    seen.append(lifecycle.ready)
    assert seen == [False, True, False]


def test_a_model_that_loads_late_does_not_make_a_draining_process_ready() -> None:
    lifecycle = Lifecycle()
    lifecycle.drain()
    lifecycle.loaded()
    assert lifecycle.draining
