//! Requests that go on until somebody ends them: watches and followed logs, as kube-apiserver's
//! `BasicLongRunningRequestCheck` tells them from the path and the query, and how their responses are ended when the
//! proxy stops: between two events, never inside one. Upgrades are long-running too; they are known by their handshake.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Method, Uri, header};
use http_body::Frame;
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::body::{BodyError, Streamed};

/// How long a stream may take to come to a place where it can end.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where a stream can end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Anywhere: a log.
    Anywhere,
    /// After a line: a watch in JSON.
    Lines { at_end: bool },
    /// After a message behind its length in four bytes, big-endian: a watch in protobuf (Kubernetes' `LengthDelimitedFramer`).
    Prefixed { length: [u8; 4], have: u8, left: u64 },
    /// Nowhere that is known: CBOR.
    Nowhere { begun: bool },
}

impl Framing {
    /// By the type of the response.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let content = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media = content.split(';').next().unwrap_or_default().trim();
        if headers.contains_key(header::CONTENT_ENCODING) {
            return Self::Nowhere { begun: false };
        }
        match media {
            "application/json" => Self::Lines { at_end: true },
            "application/vnd.kubernetes.protobuf" => Self::Prefixed { length: [0; 4], have: 0, left: 0 },
            "text/plain" => Self::Anywhere,
            _ => Self::Nowhere { begun: false },
        }
    }

    /// Whether what has passed so far is whole.
    fn can_end(&self) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Lines { at_end } => *at_end,
            Self::Prefixed { have, left, .. } => *have == 0 && *left == 0,
            Self::Nowhere { begun } => !begun,
        }
    }

    fn pass(&mut self, mut data: &[u8]) {
        match self {
            Self::Anywhere => {}
            Self::Lines { at_end } => *at_end = data.last().map_or(*at_end, |last| *last == b'\n'),
            Self::Nowhere { begun } => *begun |= !data.is_empty(),
            Self::Prefixed { length, have, left } => {
                while !data.is_empty() {
                    if *left > 0 {
                        let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                        data.advance(taken);
                        *left -= taken as u64;
                    } else if let Some(slot) = length.get_mut(usize::from(*have)) {
                        *slot = data.get_u8();
                        *have += 1;
                        if *have == 4 {
                            (*have, *left) = (0, u64::from(u32::from_be_bytes(*length)));
                        }
                    }
                }
            }
        }
    }
}

/// A response without an end of its own that the proxy ends when it stops.
pub(crate) struct LongRunning {
    source: Streamed,
    framing: Framing,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Runs from when the proxy stops until the stream came to a place to end.
    last_chance: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl LongRunning {
    pub(crate) fn new(source: Streamed, framing: Framing, end: WaitForCancellationFutureOwned) -> Self {
        Self { source, framing, end: Box::pin(end), last_chance: None, ended: false }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.ended || self.source.is_end_stream()
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.last_chance.is_none() && self.end.as_mut().poll(cx).is_ready() {
            self.last_chance = Some(Box::pin(tokio::time::sleep(PATIENCE)));
        }
        if self.last_chance.is_some() && self.framing.can_end() {
            self.ended = true;
            return Poll::Ready(None);
        }
        let polled = self.source.poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => self.framing.pass(frame.data_ref().map_or(&[][..], |data| data)),
            Poll::Ready(_) => {}
            Poll::Pending => {
                if let Some(last_chance) = &mut self.last_chance
                    && last_chance.as_mut().poll(cx).is_ready()
                {
                    self.ended = true;
                    return Poll::Ready(Some(Err(BodyError::Stopping)));
                }
            }
        }
        polled
    }
}

/// Whether the response has no end of its own.
pub(crate) fn is_long_running(method: &Method, uri: &Uri) -> bool {
    if method != Method::GET {
        return false;
    }
    let path = uri.path();
    is_true(uri, "watch") || is_legacy_watch(path) || (path.ends_with("/log") && is_true(uri, "follow"))
}

/// `/api/v1/watch/…` and `/apis/<group>/<version>/watch/…`.
fn is_legacy_watch(path: &str) -> bool {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    match segments.next() {
        Some("api") => segments.nth(1) == Some("watch"),
        Some("apis") => segments.nth(2) == Some("watch"),
        _ => false,
    }
}

/// A query parameter that Go's `strconv.ParseBool`, or an empty value, makes true (`runtime.Convert_Slice_string_To_bool`).
fn is_true(uri: &Uri, name: &str) -> bool {
    let query = uri.query().unwrap_or_default();
    let value = query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    });
    value.is_some_and(|value| !matches!(value, "0" | "f" | "F" | "false" | "FALSE" | "False"))
}

#[cfg(test)]
mod tests;
