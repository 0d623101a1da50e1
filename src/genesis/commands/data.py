"""`genesis data`: bring bars in, list what is there, look at it, check it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from genesis.errors import BadBarsError, DataError

data = typer.Typer(
    name="data",
    no_args_is_help=True,
    help="Bring bars in and look at them: files, exchanges, bundled samples.",
    epilog="A study names its bars by source: a sample (sample:IBM), a file's path, an imported name, or a synthetic "
    "market (synthetic:seed=7,bars=10000,timeframe=5m). Imported bars live in $GENESIS_HOME/data, ~/.genesis/data "
    "unless set.",
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Timeframe = Annotated[
    str | None, typer.Option(help="Length of a bar, such as 5m, 1h, 1d. Told from the times if left out.")
]
Timezone = Annotated[
    str | None,
    typer.Option(help="Time zone of times that carry none, such as America/New_York. They are UTC if left out."),
]
Name = Annotated[str | None, typer.Option(help="Name to keep the bars under.")]
Replace = Annotated[bool, typer.Option("--replace", help="Replace bars kept under that name.")]


def register(app: typer.Typer) -> None:
    """Add this group's commands to the application."""
    app.add_typer(data)


@data.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or Feather, also with .gz.", show_default=False)],
    name: Name = None,
    timeframe: Timeframe = None,
    symbol: Annotated[str | None, typer.Option(help="The market's name; the file's if left out.")] = None,
    timezone: Timezone = None,
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Check the bars of a file and keep them under a name.

    Columns open, high, low, close in any case, volume where known, and a time: timestamp, datetime, date, time or
    open_time, as ISO text or epoch seconds, ms, µs or ns. Nothing is repaired: bars that break a rule are refused with
    the row and the remedy, gaps are reported.
    """
    from genesis.market.catalog import import_file

    label = import_file(file, name=name, timeframe=timeframe, symbol=symbol, timezone=timezone, replace=replace)
    _kept(label, as_json)


@data.command()
def fetch(
    exchange: Annotated[str, typer.Argument(help="An exchange by its ccxt name, such as binance.", show_default=False)],
    symbol: Annotated[str, typer.Argument(help="A market there, such as BTC/USDT.", show_default=False)],
    timeframe: Annotated[str, typer.Option(help="Length of a candle, such as 5m, 1h, 1d.")],
    start: Annotated[str, typer.Option(help="First day, such as 2024-01-01.")],
    end: Annotated[str | None, typer.Option(help="Last day, included. Until now if left out.")] = None,
    name: Name = None,
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Fetch an exchange's candles and keep them under a name.

    Needs ccxt: pip install 'genesis-core[exchange]'. Each page is kept before the next is asked for; the same command
    again goes on after the last candle, whether the first run ended, failed or was killed. The candle that is still
    open is left out.
    """
    from genesis.market.catalog import instant
    from genesis.market.fetch import Progress, fetch_candles

    first, stop = instant(start, "start"), instant(end, "end", last=True)
    if first is None or (stop is not None and stop <= first):
        raise DataError(f"start {start} is after end {end}; swap them")

    def tell(progress: Progress) -> None:
        from genesis.market.checks import iso

        again = "\r" if sys.stderr.isatty() else ""
        typer.echo(f"{again}{progress.candles:,} candles, to {iso(progress.last):<20}", err=True, nl=not again)

    label = fetch_candles(
        exchange, symbol, timeframe, start=first, stop=stop, name=name, replace=replace, progress=tell
    )
    if sys.stderr.isatty():
        typer.echo(err=True)  # below the line that counted
    _kept(label, as_json)


@data.command("list")
def list_(as_json: Json = False) -> None:
    """List the bundled samples and the imported bars.

    Each with its timeframe, number of bars and extent; a file that cannot be read is listed with the reason.
    """
    from genesis.market.catalog import listing

    entries = listing()
    if as_json:
        _print_json(entries)
        return
    width = max(len(entry["source"]) for entry in entries)
    for entry in entries:
        if "error" in entry:
            typer.echo(f"{entry['source']:<{width}}  no bars: {entry['error']}")
            continue
        span = f"{entry['first'][:10]} to {entry['last'][:10]}"
        kind = "  synthetic" if entry["synthetic"] else ""
        typer.echo(f"{entry['source']:<{width}}  {entry['timeframe']:>4}  {entry['rows']:>10,} bars  {span}{kind}")


@data.command()
def show(
    source: Annotated[
        str, typer.Argument(help="A sample, file, imported name or synthetic market.", show_default=False)
    ],
    rows: Annotated[int, typer.Option(min=0, help="Bars to print from either end.")] = 3,
    timeframe: Timeframe = None,
    start: Annotated[str | None, typer.Option(help="First day, such as 2003-01-01.")] = None,
    end: Annotated[str | None, typer.Option(help="Last day, included.")] = None,
    as_json: Json = False,
) -> None:
    """Show what a source holds: extent, prices, notes, the first and last bars."""
    from genesis.market.catalog import load_bars, summary
    from genesis.market.checks import iso

    bars = load_bars(source, timeframe=timeframe, start=start, end=end)
    facts = summary(bars)
    columns = ("open", "high", "low", "close", "volume")
    ends = [*range(min(rows, len(bars))), *range(max(rows, len(bars) - rows), len(bars))]
    table = [(iso(int(bars.time[i])), [float(getattr(bars, c)[i]) for c in columns]) for i in ends]
    if as_json:
        shown = [{"time": time, **dict(zip(columns, values, strict=True))} for time, values in table]
        _print_json({**facts, "bars": shown})
        return
    _facts(facts)
    if table:
        typer.echo(f"  {'time':<19}" + "".join(f"{c:>14}" for c in columns))
    for time, values in table:
        typer.echo(f"  {time:<19}" + "".join(f"{value:>14.6g}" for value in values))


@data.command()
def check(
    source: Annotated[
        str, typer.Argument(help="A sample, file, imported name or synthetic market.", show_default=False)
    ],
    timeframe: Timeframe = None,
    timezone: Timezone = None,
    limit: Annotated[int, typer.Option(min=0, help="Gaps to print.")] = 20,
    as_json: Json = False,
) -> None:
    """Check every bar and name the gaps; exit code 3 when a rule is broken.

    Nights, weekends and single holidays are told from the data and are no gaps.
    """
    from genesis.market.catalog import check_source

    try:
        facts = check_source(source, timeframe=timeframe, timezone=timezone)
    except BadBarsError as error:
        if not as_json:
            raise
        _print_json({"source": source, "ok": False, **error.details})
        raise typer.Exit(error.exit_code) from error
    if as_json:
        _print_json({**facts, "ok": True})
        return
    _facts(facts)
    gaps = facts["gaps"]
    for gap in gaps[:limit]:
        typer.echo(f"  gap  {gap['after']} to {gap['before']}: {gap['missing']:,} missing")
    if len(gaps) > limit:
        typer.echo(f"  … and {len(gaps) - limit:,} more gaps (--limit {len(gaps)} prints all)")
    plural = "" if len(gaps) == 1 else "s"
    typer.echo(f"every bar keeps the rules; {len(gaps):,} gap{plural}, {facts['missing']:,} bars missing")


def _facts(facts: dict[str, Any]) -> None:
    kind = " (synthetic: not a real market)" if facts["synthetic"] else ""
    typer.echo(f"{facts['source']}: {facts['rows']:,} bars of {facts['timeframe']}, {facts['symbol']}{kind}")
    typer.echo(f"  {facts['first']} to {facts['last']} UTC, prices {facts['lowest']:.6g} to {facts['highest']:.6g}")
    typer.echo(f"  fingerprint {facts['fingerprint']}")
    for note in facts["notes"]:
        typer.echo(f"  note: {note}")


def _kept(label: dict[str, Any], as_json: bool) -> None:
    from genesis.market.catalog import stored_path

    path = str(stored_path(label["name"]))
    if as_json:
        _print_json({**label, "path": path})
        return
    typer.echo(f"kept {label['rows']:,} bars of {label['timeframe']} as {label['name']} in {path}")
    typer.echo(f"  {label['first'][:19]} to {label['last'][:19]} UTC, fingerprint {label['fingerprint']}")
    for note in label["notes"]:
        typer.echo(f"  note: {note}")
    typer.echo(f"use them with   data: {{source: {label['name']}}}")


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
