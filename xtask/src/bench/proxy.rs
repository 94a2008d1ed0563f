//! `cargo xtask bench proxy`: many small GETs over a few HTTP/2 connections, and what a new connection costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::task::JoinSet;

use super::contender::{Contender, Kind};
use super::report::{Column, Report, Row, Target};
use super::rig::Rig;
use super::sample::quantile_ms;
use super::upstream::OBJECT_PATH;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds, each with every contender
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// GETs in a round; CPU time is counted in steps of 10 ms, so fewer than 60000 say little
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u32).range(1000..=5_000_000))]
    requests: u32,
    /// HTTP/2 connections of the clients
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    connections: u32,
    /// GETs under way at once on each connection
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=100))]
    streams: u32,
    /// New connections in a round, each with one GET
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(100..=20_000))]
    new_connections: u32,
}

const COLUMNS: &[Column] = &[
    Column { key: "cpu_us_per_get", title: "CPU µs/GET", decimals: 1, against_nginx: true },
    Column { key: "gets_per_second", title: "GET/s", decimals: 0, against_nginx: false },
    Column { key: "p50_ms", title: "p50 ms", decimals: 2, against_nginx: false },
    Column { key: "p99_ms", title: "p99 ms", decimals: 2, against_nginx: false },
    Column { key: "cpu_us_per_connection", title: "CPU µs/new connection", decimals: 0, against_nginx: true },
];
const TARGETS: &[Target] = &[Target {
    title: "CPU per small HTTP/2 GET at most nginx's",
    column: "cpu_us_per_get",
    is_ratio: true,
    at_most: 1.0,
}];
/// A round that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(300);
/// So that buffers, pools and branch predictors are as they are in a proxy that runs.
const WARM_UP: u32 = 2000;
/// New connections under way at once: enough that the proxy does not wait for the clients.
const CONNECTING: u32 = 4;

/// Measures.
///
/// # Errors
/// If a proxy does not start, or an answer is wrong.
pub(crate) async fn run(options: &Options, rig: &Rig, only: Option<Kind>) -> anyhow::Result<Report> {
    let mut contenders = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| only.is_none_or(|only| only == *kind)) {
        let contender = Contender::start(kind, rig).await?;
        let row = Row { kind, version: contender.version.clone(), rounds: Vec::new() };
        contenders.push((contender, row));
    }
    for round in 1..=options.rounds {
        for (contender, row) in &mut contenders {
            let name = contender.kind.name();
            let measured = tokio::time::timeout(PATIENCE, one_round(options, rig, contender)).await;
            let figures =
                measured.with_context(|| format!("{name} hangs"))?.with_context(|| format!("through {name}"))?;
            eprintln!(
                "round {round} of {}: {name}, {:.0} GET/s",
                options.rounds,
                figures.get(1).copied().flatten().unwrap_or_default()
            );
            row.rounds.push(figures);
        }
    }
    let object = rig.upstream.object().len();
    let load = format!(
        "Small GETs ({object} bytes), HTTP/2 over TLS 1.3, {} connections x {} streams, {} in a round, {} rounds",
        options.connections, options.streams, options.requests, options.rounds
    );
    let rows = contenders.into_iter().map(|(_, row)| row).collect();
    Ok(Report { bench: "proxy", load, columns: COLUMNS, rows, targets: TARGETS })
}

async fn one_round(options: &Options, rig: &Rig, contender: &Contender) -> anyhow::Result<Vec<Option<f64>>> {
    gets(rig, contender.port, options, WARM_UP).await?;
    let before = contender.cpu()?;
    let (took, mut latencies) = gets(rig, contender.port, options, options.requests).await?;
    let cpu = micros_each(before, contender.cpu()?, options.requests);
    let done = f64::from(options.requests);

    let before = contender.cpu()?;
    new_connections(rig, contender.port, options.new_connections).await?;
    let connecting = micros_each(before, contender.cpu()?, options.new_connections);
    let [median, late] = [0.5, 0.99].map(|at| quantile_ms(&mut latencies, at));
    Ok(vec![cpu, Some(done / took.as_secs_f64()), median, late, connecting])
}

/// CPU time between two looks, in microseconds, for each of `count`.
pub(crate) fn micros_each(before: Option<Duration>, after: Option<Duration>, count: u32) -> Option<f64> {
    Some(after?.saturating_sub(before?).as_secs_f64() * 1e6 / f64::from(count))
}

/// `count` GETs, as many at once as the options say: how long they took together, and each.
async fn gets(rig: &Rig, port: u16, options: &Options, count: u32) -> anyhow::Result<(Duration, Vec<Duration>)> {
    let left = Arc::new(AtomicU32::new(count));
    let expected = rig.upstream.object();
    let mut connections = Vec::new();
    for _ in 0..options.connections {
        connections.push(rig.client.connect(port, OBJECT_PATH).await?);
    }
    let started = Instant::now();
    let mut workers = JoinSet::new();
    for connection in connections.iter().flat_map(|connection| (0..options.streams).map(move |_| connection)) {
        let (mut connection, left, expected) = (connection.clone(), left.clone(), expected.clone());
        workers.spawn(async move {
            let mut latencies = Vec::new();
            while left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                let asked = Instant::now();
                connection.get(&expected).await?;
                latencies.push(asked.elapsed());
            }
            anyhow::Ok(latencies)
        });
    }
    let mut all = Vec::new();
    while let Some(latencies) = workers.join_next().await {
        all.extend(latencies??);
    }
    let took = started.elapsed();
    if all.len() != usize::try_from(count)? {
        bail!("{} answers to {count} GETs", all.len());
    }
    Ok((took, all))
}

/// `count` connections, a TLS handshake and one GET each.
async fn new_connections(rig: &Rig, port: u16, count: u32) -> anyhow::Result<()> {
    let left = Arc::new(AtomicU32::new(count));
    let mut workers = JoinSet::new();
    for _ in 0..CONNECTING {
        let (client, left, expected) = (rig.client.clone(), left.clone(), rig.upstream.object());
        workers.spawn(async move {
            while left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                client.connect(port, OBJECT_PATH).await?.get(&expected).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    Ok(())
}
