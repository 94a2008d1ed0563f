//! The bodies that pass through the proxy. None is ever collected: a frame goes out as it came in, and is asked for
//! only when the other side has room, so a 100 MB list holds one flow-control window of memory.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::upstream::Lease;

/// What the proxy sends to kube-apiserver.
pub(crate) enum RequestBody {
    /// No body: the request ends with its headers.
    Empty,
    /// A body of the proxy's own (a review).
    Whole(Option<Bytes>),
    /// The client's body, streamed.
    Streamed(Incoming),
}

impl RequestBody {
    /// The client's body; one that has already ended is [`RequestBody::Empty`].
    pub(crate) fn from_client(body: Incoming) -> Self {
        if body.is_end_stream() { Self::Empty } else { Self::Streamed(body) }
    }

    /// Whether the same request can be built again after this body was given away.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Streamed(incoming) => loop {
                match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
                    // RFC 9110 section 6.5.1: trailers may be discarded. A client's trailers are, for they could
                    // name a header that was stripped.
                    Some(Ok(frame)) if !frame.is_data() => {}
                    other => return Poll::Ready(other),
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Whole(None) => true,
            Self::Whole(Some(_)) => false,
            Self::Streamed(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Whole(None) => SizeHint::with_exact(0),
            Self::Whole(Some(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Self::Streamed(incoming) => incoming.size_hint(),
        }
    }
}

/// The body of a response of kube-apiserver.
pub(crate) enum UpstreamBody {
    /// As it comes.
    Streamed(Incoming),
    /// Already read, because the proxy had to look at it.
    Whole(Bytes),
}

/// What the proxy answers a client with.
pub(crate) struct ResponseBody {
    source: Source,
    /// Counts the request as in flight on its connection and in the process until the body has ended.
    _in_flight: Option<crate::serving::InFlight>,
}

enum Source {
    Whole(Option<Bytes>),
    Upstream { incoming: Incoming, _lease: Option<Lease> },
    Stream(Box<LongRunning>),
}

/// A response without an end of its own (a watch, a followed log) that the proxy ends when it shuts down.
struct LongRunning {
    incoming: Incoming,
    _lease: Option<Lease>,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Whether the last byte that was sent closed a line: a JSON watch is cut between events, never inside one.
    at_boundary: bool,
    ended: bool,
}

impl ResponseBody {
    /// A body that the proxy itself wrote.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { source: Source::Whole((!bytes.is_empty()).then_some(bytes)), _in_flight: None }
    }

    /// A response of kube-apiserver. The lease on its connection ends with the body.
    pub(crate) fn upstream(body: UpstreamBody, lease: Option<Lease>) -> Self {
        match body {
            UpstreamBody::Whole(bytes) => Self::whole(bytes),
            UpstreamBody::Streamed(incoming) => {
                Self { source: Source::Upstream { incoming, _lease: lease }, _in_flight: None }
            }
        }
    }

    /// A response of kube-apiserver that goes on until somebody ends it; `end` is somebody.
    pub(crate) fn long_running(body: UpstreamBody, lease: Option<Lease>, end: WaitForCancellationFutureOwned) -> Self {
        let UpstreamBody::Streamed(incoming) = body else { return Self::upstream(body, lease) };
        let stream = LongRunning { incoming, _lease: lease, end: Box::pin(end), at_boundary: true, ended: false };
        Self { source: Source::Stream(Box::new(stream)), _in_flight: None }
    }

    /// Holds `guard` until the body has ended or was dropped.
    pub(crate) fn holding(mut self, guard: crate::serving::InFlight) -> Self {
        self._in_flight = Some(guard);
        self
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.get_mut().source {
            Source::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Upstream { incoming, .. } => Pin::new(incoming).poll_frame(cx),
            Source::Stream(stream) => stream.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(bytes) => bytes.is_none(),
            Source::Upstream { incoming, .. } => incoming.is_end_stream(),
            Source::Stream(stream) => stream.ended || stream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Source::Upstream { incoming, .. } => incoming.size_hint(),
            // No promise of a length: the stream may be ended early, and cleanly.
            Source::Stream(_) => SizeHint::default(),
        }
    }
}

impl LongRunning {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.at_boundary && self.end.as_mut().poll(cx).is_ready() {
            self.ended = true;
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(last) = frame.data_ref().and_then(|data| data.last())
        {
            self.at_boundary = *last == b'\n';
        }
        polled
    }
}
