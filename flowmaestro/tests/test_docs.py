"""The manual."""

from __future__ import annotations

import pytest

from flowmaestro.docs import PAGES


@pytest.mark.parametrize("slug", PAGES)
def test_every_page_of_the_manual_is_there_for_anybody(client, slug):
    answer = client.get(f"/docs/{slug}/")
    assert answer.status_code == 200
    assert PAGES[slug] in answer.content.decode()
    assert f'href="/docs/{slug}/"' in client.get("/docs/").content.decode()


def test_a_page_that_is_not_there_is_not_found(client):
    assert client.get("/docs/no-such-page/").status_code == 404
