"""What Chromium's trace says about a page's main thread, in milliseconds of its processor time."""

from __future__ import annotations

from collections import Counter
from typing import Any

FRAME = "FireAnimationFrame"
SCRIPTS = {
    FRAME,
    "FunctionCall",
    "RunMicrotasks",
    "EvaluateScript",
    "v8.run",
    "v8.callFunction",
    "TimerFire",
    "FireIdleCallback",
}
LAYOUTS = {"Layout", "UpdateLayoutTree", "ScheduleStyleRecalculation"}
CATEGORIES = ["devtools.timeline", "v8.execute"]


def scripting(events: list[dict[str, Any]]) -> dict[str, float]:
    """Return the time in scripts, in which of it frames were drawn, and in layout wherever it happened.

    Layout that a script asked for counts as layout, as in Chromium's own tools. Only outermost events count.
    """
    spans = [event for event in events if event.get("ph") == "X" and event["name"] in SCRIPTS | LAYOUTS]
    threads = Counter((event["pid"], event["tid"]) for event in spans if event["name"] == FRAME)
    if not threads:
        threads = Counter((event["pid"], event["tid"]) for event in spans)
    main = threads.most_common(1)[0][0]
    total: Counter[str] = Counter()
    open_until: dict[str, float] = {"script": 0, "frame": 0, "layout": 0}
    for event in sorted((one for one in spans if (one["pid"], one["tid"]) == main), key=lambda one: one["ts"]):
        begun, end, took = event["ts"], event["ts"] + event["dur"], event.get("tdur", event["dur"]) / 1000
        kind = "layout" if event["name"] in LAYOUTS else "script"
        if begun >= open_until[kind]:
            open_until[kind] = end
            total[kind] += took
            if kind == "layout" and begun < open_until["script"]:
                total["script"] -= took
                if begun < open_until["frame"]:
                    total["frame"] -= took
        if event["name"] == FRAME and begun >= open_until["frame"]:
            open_until["frame"] = end
            total["frame"] += took
    return {"scripting": total["script"], "beyond frames": total["script"] - total["frame"], "layout": total["layout"]}
