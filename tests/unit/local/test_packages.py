import pytest

from iris_local import packages
from iris_local.errors import LocalClusterError


def test_nothing_is_missing_when_every_sign_is_there() -> None:
    assert packages.missing(lambda _: True) == []


def test_each_package_is_asked_for_once_and_in_order() -> None:
    wanted = packages.missing(lambda _: False)
    assert wanted == sorted(set(packages.NEEDED.values()))


def test_only_the_package_of_a_missing_program_is_asked_for() -> None:
    assert packages.missing(lambda sign: sign != "etcd") == ["etcd-server"]


def test_a_program_that_is_not_there_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(LocalClusterError, match="no-such-program is missing"):
        packages.find("no-such-program")
