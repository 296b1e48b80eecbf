import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iris_inference.recording.spool import Spool
from support.inference.entries import drain, entry, request_id

MIB = 1024 * 1024


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.integers(1, 60).map(lambda rows: ("append", rows)),
            st.sampled_from([("take", 1), ("take", 80), ("kill", 0)]),
        ),
        max_size=60,
    )
)
def test_no_order_of_events_loses_or_reorders_an_entry(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder, MIB, sync=False)
    appended: list[str] = []
    taken: list[str] = []
    for step, amount in steps:
        if step == "append":
            appended.append(str(len(appended)))
            spool.append([entry(appended[-1], rows=amount)])
        elif step == "take":
            entries = spool.peek(amount)
            taken += map(request_id, entries)
            if entries:
                spool.remove(len(entries))
        else:
            spool.close()
            spool = Spool(folder, MIB, sync=False)
    taken += drain(spool)
    spool.close()
    # Duplicates after a restart are allowed; losses and another order are not.
    assert list(dict.fromkeys(taken)) == appended
