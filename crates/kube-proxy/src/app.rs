//! The proxy put together: everything is made and checked before the first connection is accepted, what changes on
//! disk is taken up while it runs, and a stop is orderly.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use identity::{Fault, IssuerConfig, OidcFlags, ReservedGroups};
use runtime::log_limit::LogLimit;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::issuers::{Ca, Issuers, Source};
use crate::options::{AppSettings, IssuerSource, OidcSettings, ServingSettings, Settings};
use crate::probe::{self, Readiness};
use crate::reviews::Reviewer;
use crate::rights::{self, Needs};
use crate::serving::listen::{BindError, listen};
use crate::serving::tls::{Certificates, TlsError};
use crate::serving::{self, Counters, Limits, Server};
use crate::stack::{Behaviour, CLIENT_IP_EXTRA, Stack};
use crate::trail::TrailLog;
use crate::tunnel::Tunnels;
use crate::upstream::{ConnectError, Connector, Credentialless, Impersonating};

/// How often files are looked at for changes.
const RELOAD_EVERY: Duration = Duration::from_secs(5);
const SWEEP_EVERY: Duration = Duration::from_secs(30);
const UPSTREAM_IDLE: Duration = Duration::from_secs(120);
/// How long connections are accepted after `/ready` has begun to say no, or a fifth of the grace period.
const LISTEN_ON: Duration = Duration::from_secs(3);
/// Upgraded streams get this part of the grace period; the rest is for saying goodbye.
const TUNNEL_SHARE: f64 = 0.8;

/// Why the proxy does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Faults of the token rules: all of them.
    #[error("{}", list(.0))]
    Faults(Vec<Fault>),
    /// A file that the flags name cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The serving certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The connection to kube-apiserver cannot be configured.
    #[error(transparent)]
    Upstream(#[from] ConnectError),
    /// More than one thing; all of them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<StartError>),
    /// A port cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A proxy that serves.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where `/ready` and `/live` are.
    pub probe_address: SocketAddr,
    /// What the listener has seen.
    pub counters: Arc<Counters>,
    stop: CancellationToken,
    drain: Drain,
}

struct Drain {
    unready: CancellationToken,
    draining: CancellationToken,
    end_streams: CancellationToken,
    end_tunnels: CancellationToken,
    background: CancellationToken,
    tasks: TaskTracker,
    grace: Duration,
}

/// Makes everything, and begins to serve. `stop` begins the end; [`Running::finished`] waits for it.
///
/// # Errors
/// Whatever keeps the proxy from being safe or reachable; nothing has been served then.
pub async fn start(settings: Settings, stop: CancellationToken) -> Result<Running, StartError> {
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let background = CancellationToken::new();
    let unready = CancellationToken::new();
    let drain = Drain {
        unready: unready.clone(),
        draining: CancellationToken::new(),
        end_streams: CancellationToken::new(),
        end_tunnels: CancellationToken::new(),
        background: background.clone(),
        tasks: TaskTracker::new(),
        grace: settings.app.shutdown_grace_period,
    };

    // Everything is tried, so that every fault is reported at once.
    let probe_bind = SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), settings.app.readiness_probe_port);
    let mut faults = Faults::default();
    let configs = faults.take(issuer_configs(&settings.oidc));
    let pools = faults.take(pools(&settings));
    let serving = faults.take(serving_tls(&settings.serving));
    let listener = faults.take(listen(settings.serving.bind, settings.serving.permit_port_sharing));
    let probe_listener = faults.take(listen(probe_bind, false));
    let (
        Some(configs),
        Some(pools),
        Some((certificates, tls)),
        Some((listener, address)),
        Some((probe_listener, probe_address)),
    ) = (configs, pools, serving, listener, probe_listener)
    else {
        return Err(faults.into_error());
    };
    let (impersonating, credentialless) = pools;

    // Nothing can fail from here on.
    let extra = settings.app.extra_user_headers.clone();
    let issuers = Issuers::start(configs, extra.clone(), background.clone());
    let counters = Arc::new(Counters::default());
    let readiness = Arc::new(Readiness {
        issuers: issuers.clone(),
        require_all: settings.oidc.readiness_require_all,
        serving: AtomicBool::new(false),
        draining: unready.clone(),
    });
    let passthrough = settings.app.token_passthrough.clone();
    let audiences = passthrough.clone().unwrap_or_default().audiences;
    let stack = Arc::new(Stack {
        issuers: issuers.clone(),
        reviewer: Reviewer::new(impersonating.clone(), settings.reviews, audiences),
        impersonating: impersonating.clone(),
        credentialless: credentialless.clone(),
        tunnels: Tunnels { tasks: drain.tasks.clone(), end: drain.end_tunnels.clone() },
        behaviour: Behaviour {
            disable_impersonation: settings.app.disable_impersonation,
            token_passthrough: passthrough.is_some(),
            client_ip_extra: settings.app.extra_user_header_client_ip,
            extra,
            forwarded_for_from: settings.serving.forwarded_for_from.clone(),
            max_impersonation_values: settings.app.max_impersonation_values,
        },
        trails: TrailLog::default(),
        end_streams: drain.end_streams.clone(),
    });
    let server = Arc::new(Server {
        stack,
        tls,
        limits: limits(&settings.serving),
        proxy_protocol_from: settings.serving.proxy_protocol_from.clone(),
        counters: counters.clone(),
        log_limit: LogLimit::new(20, Duration::from_millis(500)),
        draining: drain.draining.clone(),
        tasks: drain.tasks.clone(),
    });
    tokio::spawn(probe::serve(probe_listener, readiness.clone(), background.clone()));
    watch_files(&settings.oidc, &certificates, &impersonating, &credentialless, &issuers, &background);
    tokio::spawn(rights::watch(impersonating.clone(), needs(&settings.app), background.clone()));
    tokio::spawn(sweep(impersonating, credentialless, background.clone()));
    tokio::spawn(serving::accept(server, listener));
    readiness.serving.store(true, Ordering::Release);
    tracing::info!(%address, probes = %probe_address, apiserver = %settings.apiserver.url, "serving");
    Ok(Running { address, probe_address, counters, stop, drain })
}

impl Running {
    /// Waits for the stop, and then until everything has ended or the grace period is over.
    pub async fn finished(self) {
        let Self { stop, drain, counters, .. } = self;
        stop.cancelled().await;
        tracing::info!(grace_seconds = drain.grace.as_secs(), "not ready any more; finishing what is under way");
        // `/ready` says no, but whoever balances the load learns of that only after a while, and sends connections here
        // until then.
        drain.unready.cancel();
        tokio::time::sleep(LISTEN_ON.min(drain.grace / 5)).await;
        // The listener closes, idle connections go, and watches end between two events, so that their clients go to
        // another replica.
        drain.draining.cancel();
        drain.end_streams.cancel();
        drain.tasks.close();
        let grace = drain.grace.saturating_sub(LISTEN_ON.min(drain.grace / 5));
        let for_tunnels = grace.mul_f64(TUNNEL_SHARE);
        if tokio::time::timeout(for_tunnels, drain.tasks.wait()).await.is_err() {
            tracing::info!(open = drain.tasks.len(), "ending upgraded streams");
            drain.end_tunnels.cancel();
            if tokio::time::timeout(grace.saturating_sub(for_tunnels), drain.tasks.wait()).await.is_err() {
                tracing::warn!(open = drain.tasks.len(), "the grace period is over; cutting what is left");
            }
        }
        drain.background.cancel();
        let seen = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        tracing::info!(
            accepted = seen(&counters.accepted),
            tcp_probes = seen(&counters.probes),
            handshake_failures = seen(&counters.handshake_failures),
            "stopped"
        );
    }
}

/// What keeps the proxy from starting, so far.
#[derive(Default)]
struct Faults(Vec<StartError>);

impl Faults {
    fn take<T>(&mut self, outcome: Result<T, impl Into<StartError>>) -> Option<T> {
        outcome.map_err(|error| self.0.push(error.into())).ok()
    }

    fn into_error(mut self) -> StartError {
        match (self.0.pop(), self.0.is_empty()) {
            (Some(only), true) => only,
            (last, _) => StartError::Several(self.0.into_iter().chain(last).collect()),
        }
    }
}

fn serving_tls(settings: &ServingSettings) -> Result<(Arc<Certificates>, TlsAcceptor), StartError> {
    let certificates = Certificates::new(settings)?;
    let tls = TlsAcceptor::from(Arc::new(certificates.server_config(settings)?));
    Ok((certificates, tls))
}

fn needs(app: &AppSettings) -> Needs {
    let address = app.extra_user_header_client_ip.then(|| CLIENT_IP_EXTRA.to_owned());
    Needs {
        impersonation: !app.disable_impersonation,
        extras: app.extra_user_headers.iter().map(|(key, _)| key.clone()).chain(address).collect(),
        token_reviews: app.token_passthrough.is_some(),
    }
}

fn limits(serving: &ServingSettings) -> Limits {
    Limits {
        max_connections: serving.max_connections,
        header_timeout: serving.header_timeout,
        idle_timeout: serving.idle_timeout,
        max_header_bytes: serving.max_header_bytes,
        max_streams: serving.http2_max_streams,
    }
}

fn pools(settings: &Settings) -> Result<(Impersonating, Credentialless), StartError> {
    let apiserver = &settings.apiserver;
    let with = Connector::new(&apiserver.url, apiserver.tls.clone(), apiserver.credential.clone())?;
    let without = with.without_credential()?;
    Ok((Impersonating::new(Arc::new(with)), Credentialless::new(Arc::new(without))))
}

/// The issuers as they are configured now: by flags, or by the file.
fn issuer_configs(oidc: &OidcSettings) -> Result<Vec<(IssuerConfig, Source)>, StartError> {
    let reserved = ReservedGroups::new(oidc.allow_reserved_groups.clone()).map_err(StartError::Faults)?;
    let client = oidc.client_certificate.as_ref().map(|files| (files.certificate.clone(), files.key.clone()));
    let source = |config: &IssuerConfig, ca: Option<Ca>| Source {
        issuer: config.url.clone(),
        discovery_url: config.discovery_url.clone(),
        ca,
        client: client.clone(),
    };
    match &oidc.issuers {
        IssuerSource::Flags(flags) => {
            let ca_pem = flags.ca_file.as_deref().map(read).transpose()?;
            let oidc = OidcFlags { ca_pem, ..flags.oidc.clone() };
            let config = identity::from_flags(&oidc, &reserved).map_err(StartError::Faults)?;
            let source = source(&config, flags.ca_file.clone().map(Ca::File));
            Ok(vec![(config, source)])
        }
        IssuerSource::AuthenticationConfig(path) => {
            let text = read(path)?;
            let configs = identity::parse_authentication_config(&text, &reserved).map_err(StartError::Faults)?;
            Ok(configs
                .into_iter()
                .map(|config| {
                    let ca = config.certificate_authority.clone().map(Ca::Inline);
                    let source = source(&config, ca);
                    (config, source)
                })
                .collect())
        }
    }
}

fn read(path: &Path) -> Result<String, StartError> {
    runtime::files::read_text(path).map_err(|source| StartError::File { path: path.to_owned(), source })
}

fn watch_files(
    oidc: &OidcSettings,
    certificates: &Arc<Certificates>,
    impersonating: &Impersonating,
    credentialless: &Credentialless,
    issuers: &Arc<Issuers>,
    background: &CancellationToken,
) {
    let serving = certificates.clone();
    let files = certificates.files();
    let mut certificate = Reload::of("the serving certificate");
    tokio::spawn(runtime::files::on_change(files, RELOAD_EVERY, background.clone(), async move || {
        certificate.report(serving.reload())
    }));
    for connector in [impersonating.connector().clone(), credentialless.connector().clone()] {
        let files = connector.files();
        let mut reload = Reload::of("what kube-apiserver is reached with");
        tokio::spawn(runtime::files::on_change(files, RELOAD_EVERY, background.clone(), async move || {
            reload.report(connector.reload())
        }));
    }
    if let IssuerSource::AuthenticationConfig(path) = &oidc.issuers {
        let (oidc, issuers) = (oidc.clone(), issuers.clone());
        let files = vec![path.clone()];
        let mut reload = Reload::of("the authentication configuration");
        tokio::spawn(runtime::files::on_change(files, RELOAD_EVERY, background.clone(), async move || {
            reload.report(issuer_configs(&oidc).map(|configs| issuers.replace(configs)))
        }));
    }
}

/// One thing that is read again when its files change. A broken file must not stop a proxy that works: what was loaded
/// before stays, and somebody is told.
struct Reload {
    what: &'static str,
    failures: u32,
}

impl Reload {
    fn of(what: &'static str) -> Self {
        Self { what, failures: 0 }
    }

    /// Whether it succeeded. Of two files that belong together one may be there already and the other not yet, so the
    /// first failure is a surprise; what lasts needs a person.
    fn report<E: std::fmt::Display>(&mut self, outcome: Result<(), E>) -> bool {
        let what = self.what;
        match (outcome, self.failures) {
            (Ok(()), _) => {
                self.failures = 0;
                tracing::info!("took up {what} anew");
                return true;
            }
            (Err(error), 0) => tracing::warn!(%error, "{what} changed, but cannot be used yet; keeping the old one"),
            (Err(error), 1) => tracing::error!(%error, "{what} changed, but cannot be used; keeping the old one"),
            (Err(error), _) => tracing::debug!(%error, "{what} still cannot be used"),
        }
        self.failures = self.failures.saturating_add(1);
        false
    }
}

async fn sweep(impersonating: Impersonating, credentialless: Credentialless, stop: CancellationToken) {
    loop {
        tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(SWEEP_EVERY) => {} }
        impersonating.sweep(UPSTREAM_IDLE);
        credentialless.sweep(UPSTREAM_IDLE);
    }
}
