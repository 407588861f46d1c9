"""From event sent to alert readable, in ms, at several rates up to half of what the service can do at most, which is measured first.

A real `detector serve` and a real broker, each a process; the feeder is a process of its own, and so is the reader, a read_committed
consumer. Their clock is the machine's. The clock starts when the feeder hands the event to its client, which lingers 5 ms; it stops when
the reader holds the alert. Every 200th event is by somebody never seen before, who exports 50,000 records: an alert each.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

sys.path.insert(0, str(Path(__file__).parents[1] / "torture"))
from ground import STARTS, Ground, partition_of
from harness import PARTITIONS, Serving, Stand, wait

BACKLOG = 300_000
SHARES = (0.01, 0.05, 0.25, 0.5)
"""Of the maximum."""
SECONDS = 15.0
WARM = 3.0
"""Seconds at each rate that do not count."""
STRANGE = 200
"""One event in so many raises an alert."""
EXPORT = b',"action":"export","resource":"user_profile","subject":"u1","records":50000,"src_country":"KP"}'
TICK = 0.002
TIME = re.compile(rb'"time":("[^"]*"|\d+)')
PIECES = tuple[int, bytes, bytes, bytes]
"""Partition, key, and the event before and behind its time."""
SPAWN = multiprocessing.get_context("spawn")


def templates(ground: Ground) -> Iterator[PIECES]:
    """Three days of work, again and again; the time is put in when an event is sent, and no event is a repetition."""
    days = [(key, value) for day in islice(ground.company().days(STARTS), 3) for key, value in zip(day.keys, day.values, strict=True)]
    cut = []
    for key, value in days:
        before, after = TIME.split(re.sub(rb'"event_id":"[^"]*",', b"", value))[::2]
        cut.append((partition_of(key), key, before + b'"time":', after))
    return cycle(cut)


def sender(settings: dict[str, Any], topic: str) -> tuple[Callable[[int, bytes, bytes], object], Callable[[], object]]:
    """To send and to flush: with confluent-kafka where it is installed (1.5 us an event), else with kafka-python (some 30)."""
    try:
        from confluent_kafka import Producer  # type: ignore[import-not-found]
    except ImportError:
        slow = KafkaProducer(**settings, linger_ms=5, batch_size=64 << 10, compression_type="lz4", metrics_enabled=False)
        return lambda p, key, value: slow.send(topic, value, key=key, partition=p), slow.flush
    servers = ",".join(settings["bootstrap_servers"])
    fast = Producer({"bootstrap.servers": servers, "linger.ms": 5, "compression.type": "lz4", "queue.buffering.max.messages": 1_000_000})

    def send(p: int, key: bytes, value: bytes) -> None:
        fast.produce(topic, value, key, partition=p)

    return send, fast.flush


def feed(settings: dict[str, Any], topic: str, folder: Path, seed: int, rate: float, count: int) -> None:
    """`count` events, `rate` a second (0: as fast as it goes), in ticks of 2 ms. Says how far behind it was at worst."""
    send, flush = sender(settings, topic)
    begun, late, tick = time.monotonic(), 0.0, max(int(rate * TICK), 1)
    for number, (p, key, before, after) in enumerate(islice(templates(Ground(folder, seed)), count)):
        if rate and number % tick == 0:
            ahead = begun + number / rate - time.monotonic()
            late = max(late, -ahead)
            time.sleep(max(ahead, 0.0))
        elif not rate and number % 10_000 == 0:
            flush()
        if number % STRANGE == 0:
            key = b"stranger-%d" % time.time_ns()
            p, before, after = partition_of(key), b'{"actor":"%s","time":' % key, EXPORT
        send(p, key, before + b"%d" % (time.time_ns() // 1_000_000) + after)
    flush()
    if late > 0.5:
        print(f"the feeder was {late:.1f} s late at {rate:,.0f} a second: the figures of that rate are worth little", file=sys.stderr)


def listen(settings: dict[str, Any], topic: str, found: Queue[tuple[float, float]]) -> None:
    """Puts (ms since 1970 at which an event was sent, ms until its alert could be read) until it is ended; (0, 0) when it begins."""
    client = KafkaConsumer(**settings, isolation_level="read_committed", fetch_min_bytes=1, metrics_enabled=False)
    client.assign([TopicPartition(topic, p) for p in range(PARTITIONS)])
    client.seek_to_end()
    for place in client.assignment():
        client.position(place)
    found.put((0.0, 0.0))
    while True:
        polled = client.poll(1000)
        now = time.time_ns() / 1e6
        for record in (record for records in polled.values() for record in records):
            sent = json.loads(record.value)["time"]
            found.put((sent, now - sent))


def fed(stand: Stand, ground: Ground, rate: float, count: int) -> None:
    process = SPAWN.Process(target=feed, args=(stand.settings, stand.events, ground.folder, ground.seed, rate, count))
    process.start()
    process.join()
    if process.exitcode:
        sys.exit("the events could not be fed")


def maximum(stand: Stand, ground: Ground, backlog: int) -> float:
    """Events a second: what a service works off that starts with a backlog, from its first transaction to the last."""
    fed(stand, ground, 0.0, backlog)
    with Serving(stand) as service:
        wait(lambda: done(service) > 0, 300, "the service is at work")
        begun, first = time.monotonic(), done(service)
        wait(lambda: done(service) == backlog, 300, "the backlog is worked off")
        rate = (backlog - first) / (time.monotonic() - begun)
        assert service.stop() == 0
    return rate


def done(service: Serving) -> float:
    return service.metric("detector_events_total")


def measured(stand: Stand, ground: Ground, rate: float, seconds: float, found: Queue[tuple[float, float]]) -> list[float]:
    """Ms, sorted."""
    begun = time.time_ns() / 1e6
    fed(stand, ground, rate, int(rate * (WARM + seconds)))
    time.sleep(2.0)
    times = []
    while not found.empty():
        sent, took = found.get()
        if sent > begun + WARM * 1000:
            times.append(took)
    return sorted(times)


def cpu(process: Any) -> float:
    """Seconds, user and system."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def under_load(stand: Stand, ground: Ground, most: float, rates: list[float], seconds: float) -> None:
    """Prints a line for each rate."""
    print(" ".join(f"{head:>9s}" for head in ("events/s", "of most", "alerts", "p50 ms", "p99 ms", "CPU")))
    found: Queue[tuple[float, float]] = SPAWN.Queue()
    reader = SPAWN.Process(target=listen, args=(stand.settings, stand.alerts, found), daemon=True)
    reader.start()
    found.get(timeout=60)
    with Serving(stand) as service:
        service.until_ready(300)
        for rate in rates:
            before, begun = cpu(service.process), time.monotonic()
            times = measured(stand, ground, rate, seconds, found) or [math.nan]
            used = (cpu(service.process) - before) / (time.monotonic() - begun)
            p50, p99 = (times[len(times) * share // 100] for share in (50, 99))
            print(f"{rate:9,.0f} {rate / most:9.1%} {len(times):9d} {p50:9.0f} {p99:9.0f} {used:9.0%}", flush=True)
        assert service.stop() == 0
    reader.terminate()


def main() -> int:
    parser = argparse.ArgumentParser(prog="latency", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rates", type=float, nargs="*", help="events a second (default: shares of the maximum)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"at each rate (default {SECONDS:g})")
    parser.add_argument("--backlog", type=int, default=BACKLOG, help=f"events to measure the maximum with (default {BACKLOG:,})")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground(Path(folder), 1)
        ground.prepare()
        with ground.broker:
            stand = ground.stand()
            most = maximum(stand, ground, args.backlog)
            print(f"at most {most:,.0f} events a second (a backlog of {args.backlog:,})")
            under_load(stand, ground, most, args.rates or [share * most for share in SHARES], args.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
