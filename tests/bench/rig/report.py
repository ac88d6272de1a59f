"""The table: what was measured, what is to be held, and whether it is."""

import json
import os
import platform
import statistics
import time

from rig.passes import median

MIB = 2**20
KIB = 2**10


# What is to be held of each ratio with everything on, which is what is measured and decides; and beside it what was to be
# held before there were policies and inspection, of which Causeway cannot be had without.
HOLD = {"1k": (1.3, 1.2), "64k": (1.8, 1.2), "1m": (1.8, 1.6), "chunk": (1.15, 1.1)}


def rows(results):
    """One row per figure: its name, nginx's value, Causeway's value, the figure, what to hold, and whether it holds."""
    made = []
    for body, prompt in (("1k", "1 KB prompt"), ("64k", "64 KB prompt"), ("1m", "1 MB image")):
        made.append(ratio(f"CPU per request, {prompt}", results["unary"][body], "cpu_us", HOLD[body]))
    made.append(ratio("CPU per streamed chunk", results["chunks"], "cpu_us_per_event", HOLD["chunk"]))
    if "encrypted" in results:
        encrypted, of = results["encrypted"], "TLS 1.3 on both sides"
        made.append(ratio(f"CPU per request, 1 KB prompt, {of}", encrypted["1k"], "cpu_us", HOLD["1k"]))
        made.append(ratio(f"CPU per streamed chunk, {of}", encrypted["chunks"], "cpu_us_per_event", HOLD["chunk"]))
    made.append(first_token(results["first_token"]))
    made += memory(results["memory"])
    made.append(start(results["ready"]))
    return made


def ratio(what, seen, field, hold):
    nginx = median(seen["nginx"], field)
    most, without = hold
    row = {"figure": what, "nginx": f"{nginx:.1f} us", "causeway": "-", "result": "-"}
    row |= {"hold": f"at most {most}x", "without": f"{without}x"}
    if "causeway" in seen:
        ours = median(seen["causeway"], field)
        # The ratio within a round, whose windows stood side by side: what the machine did meanwhile is in both.
        ratios = [a[field] / b[field] for a, b in zip(seen["causeway"], seen["nginx"]) if b[field]]
        value = statistics.median(ratios)
        spread = f" ({min(ratios):.2f}-{max(ratios):.2f})"
        row |= {"causeway": f"{ours:.1f} us", "result": f"{value:.2f}x{spread}", "value": value, "held": value <= most}
    return row


def first_token(seen):
    def over(a, b):
        return statistics.median(x["first_byte_us"] - y["first_byte_us"] for x, y in zip(seen[a], seen[b]))

    row = {
        "figure": "added time to first token, p50, over nginx's own",
        "nginx": f"+{over('nginx', 'direct') / 1000:.3f} ms",
        "causeway": "-",
        "result": "-",
        "hold": "at most 0.1 ms",
    }
    if "causeway" in seen:
        value = over("causeway", "nginx") / 1000
        ours = over("causeway", "direct") / 1000
        row |= {"causeway": f"+{ours:.3f} ms", "result": f"{value:+.3f} ms", "value": value, "held": value <= 0.1}
    return row


def memory(seen):
    made = []
    idle = {who: figures["idle"] for who, figures in seen.items()}
    made.append(absolute("memory, idle", idle, "MiB", MIB, 25))
    for count in [key for key in seen["nginx"] if key != "idle"]:
        per_stream = {who: (figures[count] - figures["idle"]) / int(count) for who, figures in seen.items()}
        made.append(absolute(f"memory per open stream, {int(count):,} open", per_stream, "KiB", KIB, 50))
    return made


def start(seen):
    middle = {who: statistics.median(times) for who, times in seen.items()}
    return absolute("start to ready", middle, "ms", 1, 200)


def absolute(what, values, unit, size, hold):
    row = {"figure": what, "nginx": f"{values['nginx'] / size:.1f} {unit}", "causeway": "-", "result": "-"}
    row["hold"] = f"at most {hold} {unit}"
    if "causeway" in values:
        value = values["causeway"] / size
        row |= {"causeway": f"{value:.1f} {unit}", "result": f"{value:.1f} {unit}", "value": value, "held": value <= hold}
    return row


def verdict(row):
    return {True: "hold", False: "MISS", None: "-"}[row.get("held")]


def table(made, markdown):
    """The rows as text, or as a table of Markdown."""
    titles = ["figure", "nginx", "Causeway", "result", "hold", "without policies and inspection", ""]
    fields = ["figure", "nginx", "causeway", "result", "hold"]
    lines = [[*[row[field] for field in fields], row.get("without", "-"), verdict(row)] for row in made]
    if markdown:
        titles[-1] = "verdict"
        head = ["| " + " | ".join(titles) + " |", "|---|--:|--:|--:|--:|--:|---|"]
        return "\n".join(head + ["| " + " | ".join(line) + " |" for line in lines])
    widths = [max(len(line[column]) for line in [titles, *lines]) for column in range(len(titles))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in [titles, *lines])


def machine(versions):
    """Where and when: a ratio travels, a microsecond does not."""
    model = "unknown processor"
    with open("/proc/cpuinfo") as info:
        for line in info:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
        **versions,
    }


def write_json(path, where, plan, results, made, warnings):
    with open(path, "w") as file:
        json.dump({"machine": where, "plan": plan, "rows": made, "warnings": warnings, "raw": results}, file, indent=1)
        file.write("\n")


def written(where, plan, made, warnings, markdown):
    """The whole report."""
    facts = (
        f"{where['date']}, {where['processor']}, {where['cores']} cores, Linux {where['kernel']}, "
        f"{where['nginx']}, load {where['load_before']:.1f} at the start; "
        f"medians of {plan['rounds']} rounds, each with two windows of {plan['seconds']} s per proxy, "
        f"{'real-time class' if plan['real_time'] else 'normal class (not root: noisier)'}"
    )
    parts = [facts, "", table(made, markdown)]
    if warnings:
        parts += ["", "Warnings:", *[f"- {warning}" for warning in warnings]]
    return "\n".join(parts)
