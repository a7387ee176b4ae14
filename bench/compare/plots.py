# SPDX-License-Identifier: Apache-2.0
"""Bars as SVG, with a program's colour and a light and a dark look of their own (a picture in a page sees only the system's setting)."""
import html
import statistics

from compare.cases import BY_KEY

WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 860, 190, 90, 15, 12, 54
SERIES = ("relay", "HAProxy", "HAProxy, splice", "nginx", "nginx+Lua", "lethe", "lethe, redis", "lethe, sealed")
LIGHT = ("#8a8f98", "#3b6fb6", "#7fa6d9", "#3d8f5a", "#8dc29f", "#c8501e", "#de8a3c", "#e8b878")
DARK = ("#9aa0aa", "#6fa1e8", "#4a6d9c", "#6cc48c", "#4c8562", "#ff8552", "#e0a05a", "#b9854a")


def style():
    def colours(of):
        return "".join(f".s{i}{{fill:{colour}}}" for i, colour in enumerate(of))
    return (f"<style>text{{font:13px system-ui,sans-serif;fill:#1d2127}}.title{{font-size:16px;font-weight:600}}.soft{{fill:#59616c}}"
            f".line{{stroke:#c9ced6}}.whisker{{stroke:#1d2127}}.ground{{fill:#ffffff}}{colours(LIGHT)}"
            f"@media (prefers-color-scheme:dark){{text{{fill:#e7eaee}}.soft{{fill:#a4acb8}}.line{{stroke:#3b424c}}"
            f".whisker{{stroke:#e7eaee}}.ground{{fill:#15181c}}{colours(DARK)}}}</style>")


def bar(y, name, low, value, high, scale, form):
    """One program's bar; a thin line from the smallest to the largest value."""
    index = SERIES.index(name.removesuffix(", 2").removesuffix("+log"))
    middle = y + BAR / 2 - 1
    return (f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{html.escape(name)}</text>'
            f'<rect class="s{index}" x="{LEFT}" y="{y}" width="{value * scale:.1f}" height="{BAR - 2}" rx="2"/>'
            f'<line class="whisker" x1="{LEFT + low * scale:.1f}" y1="{middle}" x2="{LEFT + high * scale:.1f}" y2="{middle}"/>'
            f'<text x="{LEFT + max(high, value) * scale + 6:.1f}" y="{y + 12}">{form.format(value)}</text>')


def chart(title, groups, below):
    """groups: [(heading, form, [(program, [values])])], each to a scale of its own. `below`: lines about the machine."""
    parts, y = [], TOP
    for heading, form, rows in groups:
        scale = (WIDTH - LEFT - RIGHT) / max(max(values) for _, values in rows)
        parts.append(f'<text class="soft" x="{LEFT}" y="{y + 10}">{html.escape(heading)}</text>')
        y += 18
        start = y
        for name, values in rows:
            parts.append(bar(y, name, min(values), statistics.median(values), max(values), scale, form))
            y += BAR + 3
        parts.append(f'<line class="line" x1="{LEFT}" y1="{start - 2}" x2="{LEFT}" y2="{y}"/>')
        y += GAP
    notes = "".join(f'<text class="soft" x="20" y="{y + 10 + 18 * i}">{html.escape(line)}</text>' for i, line in enumerate(below))
    height = y + 8 + 18 * len(below)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(title)}">{style()}'
            f'<rect class="ground" width="{WIDTH}" height="{height}"/><text class="title" x="20" y="28">{html.escape(title)}</text>'
            f'{"".join(parts)}{notes}</svg>\n')


def cpu_groups(judge):
    groups = []
    for case in BY_KEY.values():
        if case.key in ("two", "load", "slow", "crowd"):
            continue
        rows = [(name, [r.cpu for r in judge.results(case.key, name)]) for name in
                (key.split("/", 1)[1] for key in judge.found if key.split("/", 1)[0] == case.key)]
        rows = [(name, values) for name, values in rows if values]
        if rows:
            groups.append((f"{case.title}: {case.per}", "{:.2f}" if case.unit == "GB" else "{:.1f}", rows))
    return groups


def memory_groups(judge):
    kinds = [key for key in judge.found if key.startswith("memory/")]
    return [(heading, form, [(key[7:], [getattr(r, field) for r in judge.found[key]]) for key in kinds])
            for heading, field, form in (("an idle connection, bytes of private anonymous memory", "connection", "{:.0f}"),
                                         ("resident at start, MB", "start", "{:.1f}")) if kinds]


def draw(judge, below):
    """[(the end of its name, what it shows, the picture)]"""
    pictures = (("cpu", "CPU time by case and program (median; the line: smallest to largest)", cpu_groups(judge)),
                ("memory", "Memory by program", memory_groups(judge)))
    return [(name, title, chart(title, groups, below)) for name, title, groups in pictures if groups]
