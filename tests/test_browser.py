"""The browser of the tests sees what a person would see in the console."""

from __future__ import annotations

from pathlib import Path

from tests.browser import Message, open_page, visit

GOOD = "<!doctype html><html lang=en><title>t</title><link rel=icon href=data:,><h1>Hello</h1>"


def page(tmp_path: Path, body: str) -> Path:
    path = tmp_path / "a page.html"
    path.write_text(GOOD + body)
    return path


def test_a_good_page_has_no_errors(tmp_path: Path) -> None:
    script = "<p></p><script>document.querySelector('p').textContent = 1 + 1; console.log('hi')"
    seen = open_page(page(tmp_path, script + "</script>"), screenshot=tmp_path / "seen.png")
    assert seen.errors == []
    assert seen.console == [Message("log", "hi")]
    assert "<h1>Hello</h1><p>2</p>" in seen.dom
    assert [r[:5] for r in seen.requests] == ["file:"]
    assert (tmp_path / "seen.png").read_bytes().startswith(b"\x89PNG")


def test_every_kind_of_error_is_seen(tmp_path: Path) -> None:
    script = """<meta http-equiv=Content-Security-Policy content="img-src 'none'">
        <img src=https://example.com/a.png>
        <script>setTimeout(() => { throw new Error('late') }); console.error('said')</script>
        <script>broken(</script>"""
    errors = open_page(page(tmp_path, script)).errors
    for part in ("late", "said", "SyntaxError", "Content Security Policy"):
        assert any(part in e for e in errors), (part, errors)


def test_width_colours_and_keys_reach_the_page(tmp_path: Path) -> None:
    script = """<button onclick="this.textContent = 'pressed'">press</button>"""
    with visit(page(tmp_path, script), width=500, dark=True) as tab:
        assert tab.evaluate("[innerWidth, matchMedia('(prefers-color-scheme: dark)').matches]") == [
            500,
            True,
        ]
        tab.press("Tab")
        tab.press("Enter", "\r")
        assert tab.evaluate("document.activeElement.textContent") == "pressed"
