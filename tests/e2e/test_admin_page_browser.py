# SPDX-License-Identifier: Apache-2.0
"""The admin page as a person sees it, in Chromium: live, by keyboard, on a phone, in the dark, and when the stream breaks."""
import pytest

pytest.importorskip("websocket", reason="no python3-websocket")
# pylint: disable=wrong-import-position
from admin_rig import Events
from browser_rig import Chromium, find_chromium
from cluster_rig import keys

from rig import App, wait_for
from rig.base import free_port

pytestmark = pytest.mark.skipif(not find_chromium(), reason="no chromium")

STATE = "document.getElementById('live').dataset.state"
LIVE = f"{STATE} === 'live'"


@pytest.fixture(name="browser", scope="module")
def fixture_browser():
    with Chromium() as browser:
        yield browser


@pytest.fixture(name="app")
def fixture_app():
    with App() as app:
        yield app


def opened(browser, l):
    tab = browser.tab()
    tab.look()
    tab.open(f"http://{l.admin}/").wait_js(LIVE)
    return tab


def text(tab, selector):
    return tab.js(f"document.querySelector({selector!r}).innerText")


def clean(tab, l):
    """Nothing was complained of, and nothing was fetched from anywhere else."""
    assert not tab.errors
    assert tab.urls and all(u.startswith(f"http://{l.admin}/") or u.startswith("data:") for u in tab.urls), tab.urls


def test_it_is_live(browser, lethe, app):
    l = lethe(app.address, {"store": "sealed", "keys": keys()})
    tab = opened(browser, l)
    tab.js("window.kept = true")
    assert "well" in text(tab, "#says") and "0 since the start" in text(tab, "#t-rate p")
    assert tab.js("document.querySelectorAll('#rules li').length") == 8
    for _ in range(5):
        l.get("/", "Cookie: AWSALB=x\r\n")
    tab.wait_js("document.querySelector('#t-rate p').innerText.startsWith('5 since the start')")
    tab.wait_js("document.querySelector('[data-id=sticky]').dataset.verdict === 'broken'")
    assert "broken" in text(tab, "[data-id=sticky] .verdict") and "stickiness.enabled=false" in text(tab, "[data-id=sticky] .remedy")
    assert text(tab, "#stripped-rows").split() == ["aws-alb", "5", "0"]
    assert "serves, but 1 thing is wrong" in text(tab, "#says") and "stickiness.enabled=false" in text(tab, "#do")
    assert tab.js("document.querySelector('#t-rate svg path:last-child').getAttribute('d').length > 20")
    assert tab.js("window.kept") is True  # the same page all the time
    clean(tab, l)


def test_an_outage_is_told(browser, lethe):
    l = lethe(f"127.0.0.1:{free_port()}", {"store": "sealed", "keys": keys(), "timeouts.upstream_connect": "50ms"})
    tab = opened(browser, l)
    l.get("/")
    tab.wait_js("document.getElementById('status').dataset.state === 'failing'")
    assert "does not accept a connection" in text(tab, "#says") and "start the application" in text(tab, "#do").lower()
    tab.wait_js("!document.getElementById('error-table').hidden")
    assert "request_failed" in text(tab, "#error-rows") and l.wait_access()[0]["id"] in text(tab, "#error-rows")
    tab.wait_js("document.querySelector('#t-failed').dataset.look === '1'")
    clean(tab, l)


def test_a_broken_stream_is_said_and_mended(browser, lethe, app):
    admin = f"127.0.0.1:{free_port()}"
    l = lethe(app.address, admin=admin)
    tab = opened(browser, l)
    l.stop()
    tab.wait_js(f"{STATE} === 'broken'")
    assert "no answer" in text(tab, "#live") and "as of" in text(tab, "#live")
    assert tab.js("document.body.dataset.stale") == "1" and text(tab, "#says")  # what was known stays
    l = lethe(app.address, admin=admin)
    tab.wait_js(LIVE, 40)
    l.get("/")
    tab.wait_js("document.querySelector('#t-rate p').innerText.startsWith('1 since')")


def test_without_a_place_in_the_stream_it_asks_now_and_then(browser, lethe, app):
    l = lethe(app.address)
    streams = [Events(l) for _ in range(8)]
    tab = browser.tab()
    tab.open(f"http://{l.admin}/")
    tab.wait_js("document.getElementById('live').innerText === 'every 5 s'", 30)
    assert "key ring" in text(tab, "#says")
    for s in streams:
        s.close()
    tab.wait_js(LIVE, 30)


# --- keyboard ---

CONTROLS = "[...document.querySelectorAll('a[href], button, summary')].filter(e => e.offsetParent !== null || e.className === 'skip')"
FOCUS = """(() => { const e = document.activeElement, s = getComputedStyle(e);
    return { index: CONTROLS.indexOf(e), outline: s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2,
             inside: e.getBoundingClientRect().left >= 0, name: e.innerText }; })()""".replace("CONTROLS", CONTROLS)


def test_by_keyboard(browser, lethe, app):
    """Tab reaches every control, in the order in which they stand, and each shows that it is there."""
    l = lethe(app.address)
    tab = opened(browser, l)
    n = tab.js(f"{CONTROLS}.length")
    seen = []
    for _ in range(n):
        tab.press("Tab")
        seen.append(tab.js(FOCUS))
    assert [s["index"] for s in seen] == list(range(n)) and n >= 12
    assert all(s["outline"] and s["inside"] and s["name"] for s in seen), seen
    clean(tab, l)


def focus_on(tab, selector, most=60):
    for _ in range(most):
        tab.press("Tab")
        if tab.js(f"document.activeElement === document.querySelector({selector!r})"):
            return
    raise AssertionError(f"Tab does not reach {selector}")


def test_pause_details_and_all_errors_by_keyboard(browser, lethe, app):
    l = lethe(app.address, {"keys": keys()})
    tab = opened(browser, l)
    focus_on(tab, "#pause")
    tab.press(" ")
    assert text(tab, "#pause") == "Resume" and tab.js("document.getElementById('pause').getAttribute('aria-pressed')") == "true"
    l.get("/")
    tab.wait_js("state.traffic.ok === 1")  # it has come, and is not shown
    assert text(tab, "#t-rate p").startswith("0 since")
    tab.press(" ")
    assert text(tab, "#t-rate p").startswith("1 since")
    products = ("AWSALB=x", "__cflb=x", "AWSELB=x", "NSC_x=y", "BIGipServerp=1", "ARRAffinity=x", "INGRESSCOOKIE=x")
    for cookie in products:
        l.get("/", f"Cookie: {cookie}\r\n")
    tab.wait_js("!document.getElementById('more-errors').hidden")
    assert tab.js("document.querySelectorAll('#error-rows tr').length") == 6
    focus_on(tab, "#more-errors")
    tab.press("Enter")
    assert tab.js("document.querySelectorAll('#error-rows tr').length") == len(products)
    focus_on(tab, "summary")
    tab.press("Enter")
    assert tab.js("document.querySelector('details').open") and "sticky" in text(tab, "#notes")
    clean(tab, l)


# --- how it looks ---

RATIO = """(() => {
    const shine = c => { const v = c.match(/[0-9.]+/g).slice(0, 3).map(x => x / 255).map(x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
                         return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
    const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)/.test(c)) return c; }
                          return getComputedStyle(document.body).backgroundColor; };
    const bad = [];
    for (const e of document.querySelectorAll('body *')) {
        if (!e.offsetParent || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
        const a = shine(getComputedStyle(e).color), b = shine(behind(e)), ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
        if (ratio < 4.5) bad.push([e.tagName, e.className, ratio]);
    }
    return bad; })()"""


@pytest.mark.parametrize("width", [1280, 700, 390, 320])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_width_in_light_and_dark(browser, lethe, scheme, width):
    """Nothing stands beside the window, every text has the contrast that WCAG AA wants, and the scheme is the reader's."""
    l = lethe(f"127.0.0.1:{free_port()}", {"timeouts.upstream_connect": "50ms"})
    l.get("/", "Cookie: AWSALB=x\r\n")
    tab = opened(browser, l)
    tab.look(width=width, height=800, scheme=scheme)
    wait_for(lambda: tab.js(f"matchMedia('(prefers-color-scheme: {scheme})').matches"), 10)
    tab.wait_js("document.querySelectorAll('#error-rows tr').length >= 2")
    assert tab.js("document.documentElement.scrollWidth") <= width
    beyond = tab.js("""[...document.querySelectorAll('main *')].filter(e => e.offsetParent && e.getBoundingClientRect().right > innerWidth + 1
        && e.tagName !== 'CAPTION').map(e => e.tagName + ' ' + e.className)""")
    assert not beyond
    assert not tab.js(RATIO)
    light = tab.js("parseInt(getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0]) > 128")
    assert light is (scheme == "light")
    if width <= 390:  # cards: each cell says what it is
        assert tab.js("getComputedStyle(document.querySelector('#error-rows td')).display") == "grid"
        assert tab.js("[...document.querySelectorAll('td')].every(td => td.dataset.label)")
    clean(tab, l)


def test_states_are_words_and_shapes(browser, lethe, app):
    """Without any colour the states are still told apart."""
    l = lethe(app.address, {"store": "sealed", "keys": keys()})
    l.get("/", "Cookie: AWSALB=x\r\n")
    tab = opened(browser, l)
    tab.wait_js("document.querySelector('[data-id=sticky]').dataset.verdict === 'broken'")
    told = tab.js("""Object.fromEntries([...document.querySelectorAll('#rules li')].map(li =>
        [li.dataset.verdict, [li.querySelector('.verdict').innerText, li.querySelector('svg').innerHTML]]))""")
    assert set(told) == {"kept", "broken", "unknown"}
    assert {words for words, _ in told.values()} == {"kept", "broken", "not known"} and len({shape for _, shape in told.values()}) == 3


def test_no_motion_for_who_wants_none(browser, lethe, app):
    tab = opened(browser, lethe(app.address))
    tab.look(motion="reduce")
    assert tab.js("getComputedStyle(document.querySelector('main')).transitionDuration") == "0s"
    tab.look()
    assert tab.js("getComputedStyle(document.querySelector('main')).transitionDuration") != "0s"
