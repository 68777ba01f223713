"""Tests of url, webBrowse and fileDownload against a site on this machine."""

from __future__ import annotations

import dataclasses

import pytest

from executions import files
from executions.errors import FlowMaestroError
from executions.nodes import BadConfig
from executions.rules.definition import InvalidDefinition
from executions.sandbox import samples
from executions.tests.nodes.calls import output, result
from executions.tests.nodes.running import one, ran, refusal
from executions.tests.nodes.site import serving

PAGE = b"<html><head><title>Shop</title></head><body><nav>Menu</nav><p>Tea &amp; cake</p></body>"


@pytest.fixture
def site(settings):
    allowed = dataclasses.replace(settings.FLOWMAESTRO, OUTBOUND_ALLOW_PRIVATE=("127.0.0.1",))
    settings.FLOWMAESTRO = allowed
    with serving() as running:
        yield running


def test_pages_are_fetched_and_their_text_is_put_together(site):
    config = {
        "urls": [site.add("/a", PAGE), site.add("/b", b"plain", "text/plain"), site.add("/c", b"")],
        "outputVariable": "web",
    }
    del site.pages["/c"]
    found = output("url", config)["web"]
    assert (found["urlCount"], found["successCount"], found["errorCount"]) == (3, 2, 1)
    assert [each["success"] for each in found["urls"]] == [True, True, False]
    assert found["urls"][0]["title"] == "Shop"
    assert found["combinedContent"] == "Menu\nTea & cake\n\n---\n\nplain"
    assert "answered 404" in found["urls"][2]["error"]


@pytest.mark.parametrize(
    ("config", "inputs"),
    [
        ({"urls": "{{list}}"}, "list"),
        ({"urls": "{{first}}\n{{second}}"}, "texts"),
        ({"urls": "{{first}}, {{second}}"}, "texts"),
        ({"urls": "{{first}},{{second}},"}, "texts"),
        ({"urlVariable": "found.pages"}, "nested"),
        ({"inputName": "list"}, "list"),
        ({"urlVariable": "{{list}}"}, "list"),
        ({"url": "{{first}}", "urlVariable": "second"}, "texts"),
    ],
)  # fmt: skip
def test_addresses_come_from_wherever_a_definition_has_them(config, inputs, site):
    first, second = site.add("/a", PAGE), site.add("/b", PAGE)
    given = {
        "list": {"list": [first, second]},
        "texts": {"first": first, "second": second},
        "nested": {"found": {"pages": [{"url": first}, {"url": second}]}},
    }[inputs]
    found = output("url", config, **given)
    assert [each["url"] for each in found["urls"]] == [first, second]
    assert found["successCount"] == 2


def test_no_address_is_a_warning(site):
    found = result("url", {"urlVariable": "company.website"})
    assert found.output["urlCount"] == 0


def test_pages_in_other_encodings_and_kinds_are_read(site):
    latin = "<meta charset='iso-8859-1'><p>Größe".encode("latin-1")
    urls = [
        site.add("/a", latin),
        site.add("/b", "<p>Größe".encode("cp1252"), "text/html; charset=windows-1252"),
        site.add("/c", samples.pdf(), "application/pdf"),
        site.add("/d", b'{"a": ["x", {"b": "y"}], "n": 1}', "application/json"),
        site.add("/e", b"\x89PNG", "image/png"),
    ]
    found = output("url", {"urls": urls})["urls"]
    assert [each["content"] for each in found] == ["Größe", "Größe", "word", "x\ny", ""]
    assert "no text" in found[4]["error"]


def test_a_private_address_is_an_error_of_its_page(settings):
    found = output("url", {"urls": ["http://169.254.169.254/latest", "file:///etc/passwd"]})
    assert found["errorCount"] == 2
    assert "private address" in found["urls"][0]["error"]


def test_screenshots_are_refused_when_the_definition_is_read():
    with pytest.raises(InvalidDefinition, match="browser"):
        output("url", {"urls": "x", "scrapingMode": "screenshot"})


def test_a_page_is_read_up_to_a_length(site):
    address = site.add("/a", b"<p>" + b"word " * 100)
    config = {"url": "{{at}}", "maxLength": 10, "outputVariable": "p"}
    found = output("webBrowse", config, at=address)
    assert found["p"]["content"] == "word word "
    assert found["p"]["truncated"] and found["p"]["contentLength"] == 10
    with pytest.raises(FlowMaestroError, match="answered 404"):
        output("webBrowse", {"url": address + "b"})
    with pytest.raises(BadConfig, match="no address"):
        output("webBrowse", {"url": "{{nowhere}}"})


def test_a_download_becomes_a_file_of_the_run(site, engine):
    address = site.add("/x/report.pdf?v=1".partition("?")[0], samples.pdf(), "application/pdf")
    run_id, found = one(engine, "fileDownload", {"url": address, "outputVariable": "f"})
    kept, data = files.read(run_id, "report.pdf")
    assert data == samples.pdf()
    assert found["f"] == {**kept.as_json(), "url": address, "contentType": "application/pdf"}


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="a b.txt"', "a b.txt"),
        ("attachment; filename=../../etc/passwd", "passwd"),
        ('attachment; filename="..\\\\..\\\\boot.ini"', "boot.ini"),
        ("attachment; filename*=UTF-8''na%C3%AFve%2F..%2Fx.txt; filename=y", "x.txt"),
        ('attachment; filename=".."', "file"),
        ('attachment; filename="a:b|c?.txt"', "a_b_c_.txt"),
        (f'attachment; filename="{"n" * 500}.txt"', "n" * 100 + ".txt"),
        ("inline", "file"),
    ],
)  # fmt: skip
def test_the_name_of_a_download_stays_a_name(disposition, name, site, engine):
    address = site.add("/file", b"x", "application/x-thing", content_disposition=disposition)
    run_id, found = one(engine, "fileDownload", {"url": address})
    expected = name if name != "file" or ".." not in disposition else "file"
    assert (found["name"], found["path"]) == (expected, expected)
    assert [each.path for each in files.list_files(run_id)] == [expected]


def test_two_downloads_of_one_name_are_two_files(site, engine):
    first = site.add("/1/a.txt", b"one", "text/plain")
    second = site.add("/2/a.txt", b"two", "text/plain")
    run_id, result = ran(
        engine,
        {"a": ("fileDownload", {"url": first}), "b": ("fileDownload", {"url": second})},
        "a>b",
    )
    paths = [result["nodes"][node]["output"]["path"] for node in "ab"]
    assert len(set(paths)) == 2 and all(path.endswith(".txt") for path in paths)
    assert [files.read(run_id, path)[1] for path in paths] == [b"one", b"two"]


def test_a_download_keeps_to_its_size_and_types(site, engine):
    address = site.add("/a.bin", b"x" * 2_000, "application/octet-stream")
    assert "over the limit" in refusal(engine, "fileDownload", {"url": address, "maxSize": 1_000})
    said = refusal(engine, "fileDownload", {"url": address, "allowedTypes": "pdf, image/*"})
    assert "allowed are pdf, image/*" in said
