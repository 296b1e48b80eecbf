import pytest

from iris_local import packages
from iris_local.errors import LocalClusterError


def test_nothing_is_missing_when_every_program_and_file_exists() -> None:
    assert packages.missing(lambda _: True) == []


def test_each_missing_package_is_listed_once_and_in_order() -> None:
    wanted = packages.missing(lambda _: False)
    assert wanted == sorted(set(packages.PACKAGE_OF.values()))


def test_only_the_package_of_a_missing_program_is_listed() -> None:
    assert packages.missing(lambda sign: sign != "etcd") == ["etcd-server"]


def test_a_missing_program_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(LocalClusterError, match="no-such-program is missing"):
        packages.find("no-such-program")
