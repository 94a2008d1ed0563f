//! `cargo xtask bench watches`: thousands of watches held open, as the controllers and consoles of a cluster hold them,
//! and one event that reaches them all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::contender::{Contender, Kind};
use super::proxy::micros_each;
use super::report::{Column, Report, Row, Target};
use super::rig::Rig;
use super::sample::quantile_ms;
use super::upstream::{WATCH_PATH, event};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds, each with every contender, freshly started
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Watches at once; nginx takes two open files for each
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(100..=7000))]
    watches: u32,
    /// Watches on one HTTP/2 connection of the clients
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100))]
    per_connection: u32,
    /// Events, one after the other, each to all watches
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..=5000))]
    events: u32,
}

const COLUMNS: &[Column] = &[
    Column { key: "kib_per_watch", title: "KiB/watch", decimals: 1, against_nginx: true },
    Column { key: "kib_per_watch_after_events", title: "after events", decimals: 1, against_nginx: false },
    Column { key: "p50_ms", title: "p50 ms", decimals: 1, against_nginx: true },
    Column { key: "p99_ms", title: "p99 ms", decimals: 1, against_nginx: false },
    Column { key: "cpu_us_per_event", title: "CPU µs/event", decimals: 1, against_nginx: true },
    // Their buffers in the kernel are in no process's memory.
    Column { key: "upstream_connections", title: "upstream conns", decimals: 0, against_nginx: false },
];
const TARGETS: &[Target] = &[Target {
    title: "at most 16 KiB for a watch, after events",
    column: "kib_per_watch_after_events",
    is_ratio: false,
    at_most: 16.0,
}];
/// Opening, or one event to all: what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between an event and the next: a cluster does not send them back to back, and what was put off is done then.
const PAUSE: Duration = Duration::from_millis(50);

/// Measures.
///
/// # Errors
/// If a proxy does not start, or a watch gets anything but the event.
pub(crate) async fn run(options: &Options, rig: &Rig, only: Option<Kind>) -> anyhow::Result<Report> {
    let kinds = Kind::ALL.into_iter().filter(|kind| only.is_none_or(|only| only == *kind));
    let mut rows: Vec<Row> = kinds.map(|kind| Row { kind, version: String::new(), rounds: Vec::new() }).collect();
    for round in 1..=options.rounds {
        for row in &mut rows {
            let name = row.kind.name();
            // Freshly: memory that an earlier round left free would be used again, and not be counted.
            let contender = Contender::start(row.kind, rig).await?;
            let figures = one_round(options, rig, &contender).await.with_context(|| format!("through {name}"))?;
            eprintln!("round {round} of {}: {name}", options.rounds);
            row.version = contender.version;
            row.rounds.push(figures);
        }
    }
    let load = format!(
        "{} watches over {} HTTP/2 connections, {} events of {} bytes to all of them, {} rounds",
        options.watches,
        options.watches.div_ceil(options.per_connection),
        options.events,
        event(1).len(),
        options.rounds
    );
    Ok(Report { bench: "watches", load, columns: COLUMNS, rows, targets: TARGETS })
}

async fn one_round(options: &Options, rig: &Rig, contender: &Contender) -> anyhow::Result<Vec<Option<f64>>> {
    let (empty, connections) = (contender.memory_kib()?, rig.upstream.connections());
    let opening = Watches::open(options, rig, contender.port);
    let mut watches = tokio::time::timeout(PATIENCE, opening).await.context("the watches do not open")??;
    tokio::time::sleep(PAUSE).await;
    let (idle, connections) = (contender.memory_kib()?, rig.upstream.connections() - connections);

    // The first event finds buffers that are not there yet.
    watches.deliver(rig, 1).await?;
    let before = contender.cpu()?;
    let mut latencies = Vec::new();
    for number in 2..watches.events.len() {
        tokio::time::sleep(PAUSE).await;
        latencies.extend(watches.deliver(rig, number).await?);
    }
    let cpu = micros_each(before, contender.cpu()?, u32::try_from(latencies.len())?);
    let used = contender.memory_kib()?;
    let each = |now: Option<f64>| Some((now? - empty?) / f64::from(options.watches));
    let [median, late] = [0.5, 0.99].map(|at| quantile_ms(&mut latencies, at));
    Ok(vec![each(idle), each(used), median, late, cpu, Some(f64::from(u32::try_from(connections)?))])
}

/// What a watch tells: the number of the event that came whole, and when.
type Seen = anyhow::Result<(usize, Instant)>;

/// Watches, open until this is dropped.
struct Watches {
    tasks: JoinSet<()>,
    /// By number, made beforehand: it is not the clients' work that is measured.
    events: Arc<[Bytes]>,
    seen: UnboundedReceiver<Seen>,
}

impl Watches {
    /// Opens all; returns when each has its first event.
    async fn open(options: &Options, rig: &Rig, port: u16) -> anyhow::Result<Self> {
        let events: Arc<[Bytes]> = (0..=usize::try_from(options.events)?).map(event).collect();
        let first = events.first().context("no events")?;
        let (told, seen) = unbounded_channel();
        let mut tasks = JoinSet::new();
        let mut left = options.watches;
        while left > 0 {
            let mut connection = rig.client.connect(port, WATCH_PATH).await?;
            let here = options.per_connection.min(left);
            for _ in 0..here {
                let mut body = connection.open().await?.into_body();
                expect(&mut body, first).await?;
                tasks.spawn(follow(body, events.clone(), told.clone()));
            }
            left -= here;
        }
        Ok(Self { tasks, events, seen })
    }

    /// Sends event `number` to all; the times from the beginning of that until each client had it.
    async fn deliver(&mut self, rig: &Rig, number: usize) -> anyhow::Result<Vec<Duration>> {
        let event = self.events.get(number).context("no such event")?;
        let sent_at = Instant::now();
        let watching = rig.upstream.send(event);
        if watching != self.tasks.len() {
            bail!("the upstream has {watching} watches instead of {}", self.tasks.len());
        }
        let mut latencies = Vec::with_capacity(watching);
        while latencies.len() < watching {
            let told = tokio::time::timeout(PATIENCE, self.seen.recv()).await;
            let missing = watching - latencies.len();
            let told = told.with_context(|| format!("{missing} watches wait in vain"))?;
            let (which, at) = told.context("no watch is left")??;
            if which != number {
                bail!("event {which} came instead of {number}");
            }
            latencies.push(at.duration_since(sent_at));
        }
        Ok(latencies)
    }
}

/// Reads events, tells when each has come whole, and when anything else has come.
async fn follow(mut body: Incoming, events: Arc<[Bytes]>, told: UnboundedSender<Seen>) {
    for (number, event) in events.iter().enumerate().skip(1) {
        let seen = expect(&mut body, event).await.map(|()| (number, Instant::now()));
        let failed = seen.is_err();
        if told.send(seen).is_err() || failed {
            return;
        }
    }
    // The stream stays open until the round ends.
    std::future::pending::<()>().await;
}

async fn expect(body: &mut Incoming, event: &Bytes) -> anyhow::Result<()> {
    let mut rest: &[u8] = event;
    while !rest.is_empty() {
        let frame = body.frame().await.context("a watch ended")?.context("a watch broke off")?;
        let data = frame.into_data().unwrap_or_default();
        rest = rest.strip_prefix(&*data).context("a watch got something else than the event")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Options, Watches};
    use crate::bench::rig::Rig;

    #[tokio::test]
    async fn an_event_out_of_turn_is_a_failure() {
        let rig = Rig::start(0).await.unwrap();
        let options = Options { rounds: 1, watches: 3, per_connection: 2, events: 3 };
        let mut watches = Watches::open(&options, &rig, rig.upstream.port).await.unwrap();
        assert_eq!(watches.deliver(&rig, 1).await.unwrap().len(), 3);
        let error = watches.deliver(&rig, 3).await.unwrap_err();
        assert!(error.to_string().contains("something else"), "{error:#}");
    }
}
