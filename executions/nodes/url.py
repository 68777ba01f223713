"""url, webBrowse: fetch pages and go on with their readable text."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from pydantic import Field, field_validator

from executions import outbound
from executions.errors import FlowMaestroError
from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, node
from executions.nodes.extracting import kind_of, page, text_of
from executions.nodes.stored import Document, check_status, safe_name
from executions.rules.comparisons import to_number, to_text
from executions.rules.evaluation import MISSING

Json = Any

MAX_URLS = 50
AT_ONCE = 5
# All texts of one node together: an output holds each of them twice.
MAX_TEXT = 300_000
_MODES = ("full", "article")
_BETWEEN = "\n\n---\n\n"


class UrlConfig(NodeConfig):
    """The addresses, or where the run has them."""

    urls: Json = Field(None, title="Addresses", description="A list, or text with one per line")
    url_variable: str | None = Field(None, title="Variable", description="Holds the addresses")
    input_name: str | None = Field(None, title="Input", description="Holds the addresses")
    scraping_mode: str = Field(
        "full", title="Text", description="full, or article: without menus and the like"
    )
    timeout: Json = Field(30_000, title="Timeout", description="Milliseconds per address")
    max_length: int = Field(100_000, title="Longest text", ge=1, description="Per address")

    @field_validator("scraping_mode")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value == "screenshot":
            raise ValueError("Screenshots need a browser, which is not installed; use full.")
        if value not in _MODES:
            raise ValueError(f"There is no mode {value!r}; use full or article.")
        return value


class BrowseConfig(NodeConfig):
    """One address."""

    url: str = Field(..., title="Address", min_length=1)
    max_length: int = Field(10_000, title="Longest text", ge=1, le=MAX_TEXT)
    scraping_mode: str = Field("full", title="Text")
    timeout: Json = Field(30_000, title="Timeout", description="Milliseconds")


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    if config.get("urls") in (None, "", []):
        config["urls"] = config.get("url")
    for key in ("timeout", "maxLength"):
        if config.get(key) is None:
            config.pop(key, None)
    if not isinstance(config.get("scrapingMode"), str):
        config.pop("scrapingMode", None)
    return config


def _browse_dialect(config: dict[str, Json]) -> dict[str, Json]:
    if config.get("url") in (None, "") and isinstance(config.get("urlVariable"), str):
        config["url"] = f"{{{{{config['urlVariable']}}}}}"
    return _dialect(config)


@node(
    "url",
    synonyms=("urls", "webPage"),
    title="Web pages",
    config=UrlConfig,
    effect=Effect.READS_OUTSIDE,
    icon="globe",
    own_timeout=True,
    dialect=_dialect,
)
async def url_node(call: NodeCall[UrlConfig]) -> NodeResult:
    """Fetch pages and take their readable text."""
    config = call.config
    addresses = _addresses(call)
    if not addresses:
        call.render.warnings.append("There is no address to fetch.")
    turn = asyncio.Semaphore(AT_ONCE)
    most = min(config.max_length, MAX_TEXT // max(1, len(addresses)))

    async def one(address: str) -> dict[str, Json]:
        async with turn:
            return await _fetched(address, config, most)

    found = await asyncio.gather(*(one(address) for address in addresses))
    good = [each for each in found if each["success"]]
    output = {
        "urls": found,
        "combinedContent": _BETWEEN.join(each["content"] for each in good),
        "urlCount": len(found),
        "successCount": len(good),
        "errorCount": len(found) - len(good),
    }
    return NodeResult(output=call.wrap(output))


def _addresses(call: NodeCall[UrlConfig]) -> list[str]:
    """The addresses of a config, each once, in the order given."""
    config, render = call.config, call.render
    given: list[Json] = []
    if config.urls not in (None, "", []):
        given.append(render.value(config.urls))
    if config.url_variable:
        is_address = "://" in config.url_variable and "{{" not in config.url_variable
        found = config.url_variable if is_address else render.expression(config.url_variable)
        given.append(None if found is MISSING else found)
    if config.input_name and not given:
        given.append(call.scope.get(config.input_name))
    addresses = list(dict.fromkeys(_listed(given)))
    if len(addresses) > MAX_URLS:
        raise BadConfig(f"{len(addresses)} addresses are more than {MAX_URLS}.", field="urls")
    return addresses


def _listed(value: Json) -> list[str]:
    if isinstance(value, list):
        return [address for item in value for address in _listed(item)]
    if isinstance(value, dict):
        return _listed(value.get("url", value.get("href", value.get("link"))))
    if not isinstance(value, str):
        return []
    if len(value) > MAX_TEXT:
        raise BadConfig(
            f"A text of {len(value):,} characters is no list of addresses.", field="urls"
        )
    parts = [part for word in value.split() for part in re.split(r",(?=https?://)", word)]
    return [whole(part.rstrip(",")) for part in parts if part.strip(",")]


def whole(address: str) -> str:
    """An address with its scheme: people leave it out."""
    if "{{" in address or re.match(r"[a-z][a-z0-9+.-]*:", address, re.IGNORECASE):
        return address
    return f"https://{address.lstrip('/')}"


async def _fetched(address: str, config: UrlConfig, most: int) -> dict[str, Json]:
    try:
        seconds = seconds_of(config.timeout)
        return await read_page(address, seconds=seconds, most=most, mode=config.scraping_mode)
    except FlowMaestroError as error:
        return {
            "url": address,
            "success": False,
            "title": "",
            "content": "",
            "error": error.message,
        }


def seconds_of(milliseconds: Json) -> float:
    """A time limit in seconds, of milliseconds."""
    number = to_number(milliseconds) / 1000
    return min(300.0, number) if number > 0 else 30.0


async def read_page(address: str, *, seconds: float, most: int, mode: str) -> dict[str, Json]:
    """The page at an address, as text."""
    response = await outbound.request("GET", address, timeout=seconds)
    check_status(response)
    kind = response.header("content-type", "text/html").partition(";")[0].strip().lower()
    name = safe_name(response.url.partition("?")[0]) or "page"
    document = Document(name=name, media_type=kind, data=response.body)
    title = ""
    if kind_of(document) == "html":
        charset = re.search(r"charset=\"?([\w-]+)", response.header("content-type"), re.IGNORECASE)
        found = await page(
            response.body, most=most, mode=mode, charset=charset.group(1) if charset else None
        )
        title, text, cut = found["title"], found["text"], found["truncated"]
    else:
        text, cut = await text_of(document, most=most)
    return {
        "url": address,
        "success": True,
        "title": title or name,
        "content": text,
        "contentType": kind,
        "status": response.status,
        "finalUrl": response.url,
        "truncated": cut,
    }


@node(
    "webBrowse",
    synonyms=("web-browse", "webScrape"),
    title="Read a page",
    config=BrowseConfig,
    effect=Effect.READS_OUTSIDE,
    icon="globe",
    own_timeout=True,
    dialect=_browse_dialect,
)
async def web_browse(call: NodeCall[BrowseConfig]) -> NodeResult:
    """Fetch one page and take its readable text."""
    config = call.config
    address = to_text(call.render.value(config.url)).strip()
    if not address or "{{" in address:
        raise BadConfig(f"{address[:200]!r} is no address.", field="url")
    mode = config.scraping_mode if config.scraping_mode in _MODES else "full"
    found = await read_page(
        whole(address), seconds=seconds_of(config.timeout), most=config.max_length, mode=mode
    )
    del found["success"]
    return NodeResult(output=call.wrap({**found, "contentLength": len(found["content"])}))
