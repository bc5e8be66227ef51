"""A page without external files around sections and data: style, script and plotly.js are inlined.

Nothing is loaded from anywhere, so the page works from a mail or a cluster's disk.
"""

import html
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from plotly.offline import get_plotlyjs

Section = tuple[str, str, str]  # heading, key, HTML


def framed(title: str, subtitle: str, sections: Sequence[Section], data: Mapping[str, Any], footer: str) -> str:
    """The whole page.

    Args:
        title, subtitle: plain text.
        sections: of the page, in order.
        data: what its script reads: `figures` of plotly by the id of their place, `structures` of the view, `palette`.
        footer: HTML.
    """
    return _PAGE.format(
        title=html.escape(title),
        subtitle=html.escape(subtitle),
        css=_resource("page.css"),
        nav="".join(f'<a href="#{key}">{html.escape(label)}</a>' for label, key, _ in sections),
        body="".join(text for _, _, text in sections),
        # No < at all: `<!--<script>` in a name would keep the script open to the end of the page.
        data=json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        plotly=_script_safe(get_plotlyjs()),
        js=_resource("page.js"),
        footer=footer,
    )


def section(title: str, text: str, body: str, key: str) -> Section:
    """A section.

    Args:
        title: its heading, plain text.
        text: HTML above its body, "" for none.
        body: HTML.
        key: the id that the page's menu refers to.
    """
    lead = f"<p>{text}</p>" if text else ""
    return title, key, f'<section id="{key}"><h2>{html.escape(title)}</h2>{lead}{body}</section>'


def _script_safe(text: str) -> str:
    """Text that cannot end the script it stands in."""
    return text.replace("</", "<\\/")


def _resource(name: str) -> str:
    return resources.files("protgen.evaluation").joinpath(f"page/{name}").read_text(encoding="utf-8")


_PAGE = """<!DOCTYPE html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob:;
 style-src 'unsafe-inline'; img-src data: blob:; worker-src blob:">
<title>{title}: protgen</title>
<style>{css}</style>
</head>
<body>
<header><h1>{title}</h1><p>{subtitle}</p><button id="theme" type="button">Light or dark</button></header>
<nav>{nav}</nav>
<main>{body}</main>
<footer>{footer}</footer>
<script type="application/json" id="data">{data}</script>
<script>{plotly}</script>
<script>{js}</script>
</body>
</html>
"""
