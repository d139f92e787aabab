"""What a report says, without its markup."""

from __future__ import annotations

from html.parser import HTMLParser


class Outline(HTMLParser):
    """Sections, links inside the page, and the text of each section."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.links: list[str] = []
        self.text: dict[str, str] = {}
        self._inside = ""
        self._script = False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "section":
            self._inside = found["id"]
            self.sections.append(self._inside)
        if tag == "a":
            self.links.append(found["href"])
        self._script = tag in ("script", "style")

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._script = False

    def handle_data(self, data):
        if not self._script:
            self.text[self._inside] = f"{self.text.get(self._inside, '')} {' '.join(data.split())}"
