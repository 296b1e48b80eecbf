"""docs/logs.md: each question in the language of both stores, on labels that there are."""

import re

import pytest

from support.deploy.pipelines import LABELS, LOGS, ROOT

PAGE = (ROOT / "docs" / "logs.md").read_text()
SECTIONS = {text.partition("\n")[0]: text for text in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}
QUESTIONS = {heading: text for heading, text in SECTIONS.items() if "```logql" in text or "```logsql" in text}


def queries(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_logs_page_has_every_question() -> None:
    assert list(QUESTIONS) == [
        "What one looks at first",
        "The payload and the prediction of a request",
        "Stack traces",
        "Database trouble",
        "Cache misses and timeouts",
        "Why a release was rolled back",
    ]


@pytest.mark.parametrize("text", QUESTIONS.values(), ids=list(QUESTIONS))
def test_each_question_is_asked_of_both_stores_about_the_same_streams(text: str) -> None:
    for loki, local in zip(queries(text, "logql"), queries(text, "logsql"), strict=True):
        (of_loki,), (of_local,) = (re.findall(r"\{([^{}]*)\}", query) for query in (loki, local))
        assert of_loki.replace(" ", "") == of_local.replace(" ", "")
        assert set(re.findall(r'(\w+)=~?"', of_loki)) <= set(LABELS)


def test_every_store_and_collector_on_the_page_is_a_component() -> None:
    (table,) = re.findall(r"^\| \| what it is \| where \|\n\| --- \| --- \| --- \|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    named = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    assert sorted([*named, "namespace"]) == sorted(path.name for path in LOGS.iterdir() if path.is_dir())
