"""The frame of a page: one file whose content cannot end its own script."""

from __future__ import annotations

import json
import re

from deit.pages.page import build, embedded


def test_embedded_json_contains_no_markup_and_reads_back_unchanged() -> None:
    data = {"name": "</script><script>alert(1)</script>&amp;", "list": [1, None, "图"]}
    text = embedded(data)
    assert not set("<>&") & set(text) and json.loads(text) == data


def test_page_allows_only_its_own_script_and_escapes_its_title() -> None:
    text = build("<b>title</b>", {"a": "{{title}}"}, ["draw(data);"], instead="no <scripts>")
    assert "<b>title" not in text and "no &lt;scripts&gt;" in text and "draw(data);" in text
    assert "default-src 'none'" in text and len(re.findall("'sha256-[^']+='", text)) == 1
    assert '"a":"{{title}}"' in text  # data is not filled in again
