//! A pool of connections to one server.
//!
//! One HTTP/2 connection carries at most as many streams as the server allows (100 for kube-apiserver), and a watch
//! holds its stream for hours; so a request takes a lease on a connection with room, and a new connection is opened
//! when there is none. Servers that speak only HTTP/1.1 get a connection per request in flight, kept and reused.
//!
//! There is one dial at a time, in a task of its own: whoever waits for it may leave without undoing it, and none waits
//! longer than it wants to, whatever the others do. Room that others leave meanwhile serves as well as a dial.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::connection::{Connection, Lease, Shape};
use super::connector::{ConnectError, Connector};

const MAX_CONNECTIONS: usize = 4096;
/// Below this many streams a connection is shared although fewer than `spread` connections are open: each connection is
/// driven by one task, and one task uses one core.
const SHARE_ABOVE: usize = 16;
/// For name resolution, TCP, TLS and the HTTP handshake together.
pub(super) const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long a server counts as one that may have just started.
const SETTLING: Duration = Duration::from_secs(10);

pub(super) struct Pool {
    connector: Arc<Connector>,
    shape: Shape,
    connections: Mutex<Vec<Arc<Connection>>>,
    dialing: Mutex<Dialing>,
    /// Told when a stream of one of the connections has ended.
    freed: Arc<Notify>,
    /// How many connections to spread light load over.
    spread: usize,
    /// Until when kube-apiserver's word that it knows the proxy holds.
    known_until: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Dialing {
    /// The dial under way.
    current: Option<watch::Receiver<DialOutcome>>,
    /// Dials in a row that failed.
    failures: u32,
    /// When the server was first reached after it could not be, or after everything to it was lost.
    up_since: Option<Instant>,
}

/// Nothing as long as it is under way.
type DialOutcome = Option<Result<(), Arc<ConnectError>>>;

enum Found {
    Lease(Lease),
    /// There is room, but another connection would serve better.
    Crowded(Lease),
    Nothing,
}

impl Pool {
    pub(super) fn new(connector: Arc<Connector>, shape: Shape) -> Arc<Self> {
        Arc::new(Self {
            connector,
            shape,
            connections: Mutex::default(),
            dialing: Mutex::default(),
            freed: Arc::default(),
            spread: std::thread::available_parallelism().map_or(1, usize::from),
            known_until: Mutex::default(),
        })
    }

    pub(super) fn connector(&self) -> &Arc<Connector> {
        &self.connector
    }

    /// A lease on a connection with room; a connection is opened if there is none. A server that is away is waited for
    /// until `deadline`, unless it is the configuration that is at fault.
    pub(super) async fn lease(self: &Arc<Self>, deadline: Instant) -> Result<Lease, Arc<ConnectError>> {
        let mut last = None;
        loop {
            let mut dial = match self.find() {
                Found::Lease(lease) => return Ok(lease),
                Found::Crowded(lease) => {
                    let _in_the_background = self.dial();
                    return Ok(lease);
                }
                Found::Nothing => self.dial(),
            };
            let finished = tokio::select! {
                finished = tokio::time::timeout_at(deadline.into(), dial.wait_for(Option::is_some)) => finished,
                () = self.freed.notified() => continue,
            };
            let outcome = match finished {
                // The dial's task always says how it ended, unless the runtime stops.
                Ok(outcome) => outcome.ok().and_then(|outcome| outcome.clone()),
                Err(_elapsed) => return Err(last.unwrap_or_else(|| Arc::new(self.timed_out()))),
            };
            match outcome {
                Some(Err(error)) if error.is_hopeless() || Instant::now() >= deadline => return Err(error),
                Some(Err(error)) => last = Some(error),
                Some(Ok(())) => {}
                None => return Err(Arc::new(self.timed_out())),
            }
        }
    }

    fn find(&self) -> Found {
        let generation = self.connector.generation();
        let mut connections = self.lock();
        connections.retain(|connection| connection.is_usable(generation) || connection.is_busy());
        let usable = || connections.iter().filter(|connection| connection.is_usable(generation));
        let best = usable().filter(|connection| connection.has_room()).min_by_key(|connection| connection.streams());
        match best {
            None => Found::Nothing,
            Some(best) if best.streams() >= SHARE_ABOVE && usable().count() < self.spread => {
                Found::Crowded(best.lease())
            }
            Some(best) => Found::Lease(best.lease()),
        }
    }

    /// The dial under way, or a new one.
    fn dial(self: &Arc<Self>) -> watch::Receiver<DialOutcome> {
        let mut dialing = self.dialing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = &dialing.current {
            return current.clone();
        }
        let (outcome, waiting) = watch::channel(None);
        dialing.current = Some(waiting.clone());
        let pause = match dialing.failures {
            0 => Duration::ZERO,
            failures => (FIRST_PAUSE * 2_u32.saturating_pow(failures.min(8) - 1)).min(LONGEST_PAUSE),
        };
        let pool = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let dialled = tokio::time::timeout(DIAL_TIMEOUT, pool.open()).await;
            let dialled = dialled.unwrap_or_else(|_elapsed| Err(pool.timed_out()));
            pool.finish_dial(dialled, &outcome);
        });
        waiting
    }

    fn finish_dial(&self, dialled: Result<Connection, ConnectError>, outcome: &watch::Sender<DialOutcome>) {
        let mut dialing = self.dialing.lock().unwrap_or_else(PoisonError::into_inner);
        dialing.current = None;
        let result = match dialled {
            Ok(connection) => {
                let mut connections = self.lock();
                let is_first = !connections.iter().any(|other| other.is_usable(self.connector.generation()));
                if is_first || dialing.failures > 0 || dialing.up_since.is_none() {
                    dialing.up_since = Some(Instant::now());
                }
                dialing.failures = 0;
                tracing::debug!(max_streams = connection.max_streams(), "connected to kube-apiserver");
                connections.push(Arc::new(connection));
                Ok(())
            }
            Err(error) => {
                dialing.failures = dialing.failures.saturating_add(1);
                tracing::debug!(%error, "no connection to kube-apiserver");
                Err(Arc::new(error))
            }
        };
        drop(dialing);
        outcome.send_replace(Some(result));
    }

    async fn open(&self) -> Result<Connection, ConnectError> {
        if self.lock().len() >= MAX_CONNECTIONS {
            return Err(ConnectError::Exhausted(MAX_CONNECTIONS));
        }
        let generation = self.connector.generation();
        let io = self.connector.connect(&[b"h2", b"http/1.1"]).await?;
        let failed = |source| ConnectError::Protocol { authority: self.connector.authority().to_owned(), source };
        if io.get_ref().1.alpn_protocol() == Some(b"h2") {
            let connection = Connection::h2(io, self.shape, generation, self.freed.clone()).await.map_err(failed)?;
            connection.ok_or_else(|| self.timed_out())
        } else {
            Connection::h1(io, generation, self.freed.clone()).await.map_err(failed)
        }
    }

    pub(super) fn timed_out(&self) -> ConnectError {
        ConnectError::TimedOut { authority: self.connector.authority().to_owned(), seconds: DIAL_TIMEOUT.as_secs() }
    }

    /// Whether the server may have started a moment ago.
    pub(super) fn is_settling(&self) -> bool {
        let dialing = self.dialing.lock().unwrap_or_else(PoisonError::into_inner);
        dialing.up_since.is_some_and(|since| since.elapsed() < SETTLING)
    }

    /// Whether kube-apiserver has said a moment ago that it knows the proxy; `learn` is what it says now.
    pub(super) fn is_known(&self) -> bool {
        let until = self.known_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn learn(&self, known_for: Duration) {
        *self.known_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + known_for);
    }

    pub(super) fn sweep(&self, idle_for: Duration) {
        let generation = self.connector.generation();
        let mut kept = 0;
        self.lock().retain(|connection| {
            let keep = connection.is_busy()
                || (connection.is_usable(generation) && (connection.idle_for() < idle_for || kept == 0));
            kept += usize::from(keep);
            keep
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
